// In the order of the page.

const parts = [intervals, fields];
