package redistier

// Slot is where a key belongs in a cluster.
var Slot = slot
