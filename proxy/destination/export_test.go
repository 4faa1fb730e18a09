package destination

// Allowed lets tests see which addresses would be dialled: a public one cannot be, from a test.
var Allowed = (*Dialer).allowed
