// In the order of the page.

const parts = [histograms, tapped];
