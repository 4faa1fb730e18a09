// Package region moves a device's home from one region to another: the saga that the target's management server runs.
//
// Its parts are folders: holding is what a region's services keep of a device and how they obey an order, route is the gateway's
// side, regiontest plays all of them against each other.
package region
