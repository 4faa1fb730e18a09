// Package storetest holds the tests that every driver of package store must pass, and Unsure, a store that cannot tell
// whether it committed, for tests of whoever writes to one. It promises that a driver which passes Run can take the place
// of any other; durability over crashes is tested elsewhere, for it is each driver's own.
package storetest
