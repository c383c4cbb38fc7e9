// In the order of the page.

const parts = [leaderboard, curves, effects, heatmap, parallel, generations];
