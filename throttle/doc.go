// Package throttle slows down those who fail too often: logins, passwords, codes that are typed.
//
// A Throttle lets a burst through for each key, and then one every interval. It is the generic cell rate algorithm (ITU-T I.371,
// annex A): what it keeps of a key is one time, and it runs nothing. Its memory is bounded, and a crowd of keys cannot make it
// forget the one that has taken most. It goes by the clock that it is given; a restart forgives.
package throttle
