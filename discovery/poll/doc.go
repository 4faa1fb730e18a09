// Package poll asks the devices of the registry, over IPP, SNMP and USB, how they are.
//
// Each device that can be asked is asked for its status once an interval, at a moment of its own, so that a thousand
// devices are spread over it; its supplies and, of a device in mode polling, its counters come with the first question
// after theirs is due. A device that is new, that moved, or that took its services back is asked at once. So the number
// of questions grows with the devices and with nothing else, and Parallel bounds how many wait for an answer.
//
// A device answers in one of several ways; the one that answered last is asked first. When none answers, all are tried, and
// once more after a moment where that may help; then the registry is told why, by the first way that used to answer. A failure of one device never delays one that answers: those that are away
// have turns of their own, which take longer where very many are.
//
// What devices answer is judged by the packages ipp and snmp. This one stores nothing.
package poll
