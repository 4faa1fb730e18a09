// Package duration learns how long deliveries hold a device's slot, and estimates it for those to come.
//
// Transfers are log-normal: a few are slow, by a factor and not by a sum. So what is learned is count, mean and variance of the
// logarithm, for each model, package and kind; for each model and kind; for each kind; and of the rate in bytes per second.
// An estimate of few samples is drawn towards what is known one step less exactly, with the weight of Pull samples, and its
// 95 % quantile widened for what is not known.
//
// It promises: what was learned in a transaction that committed survives a crash; at most MaxKeys are kept, those longest
// without a sample go first. It refuses samples that cannot be transfers: shorter than a second, longer than a day. An
// estimate that nothing like it was seen for says so by its basis.
package duration
