package endpoint

// Owner is whose socket the kernel's table says.
var Owner = owner
