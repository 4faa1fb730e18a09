//go:build cgo && !nousb

package libusb

import (
	"errors"

	"github.com/google/gousb"
)

// configure opens a configuration in which claiming an interface takes it from the kernel's driver, and closing gives it back. It sets
// the configuration only if another is in force: that resets the device's state.
func configure(dev *gousb.Device, value int) (*gousb.Config, error) {
	active, err := dev.ActiveConfigNum()
	if err != nil {
		return nil, err
	}
	config, err := plainConfig(dev, value)
	if err != nil && active != value && code(err) == gousb.ErrorBusy {
		config, err = forced(dev, active, value)
	}
	if err != nil {
		return nil, err
	}
	if err := dev.SetAutoDetach(true); err != nil {
		return nil, errors.Join(err, config.Close())
	}
	config.Desc.Interfaces = numbered(config.Desc.Interfaces)
	return config, nil
}

// plainConfig opens a configuration and leaves all drivers where they are, which gousb does not once it detaches any.
func plainConfig(dev *gousb.Device, value int) (*gousb.Config, error) {
	if err := dev.SetAutoDetach(false); err != nil {
		return nil, err
	}
	return dev.Config(value)
}

// forced sets another configuration than the one of which somebody has an interface: if drivers of the kernel alone do, which the new
// configuration gets its own of. If a program does, it keeps what it has, and the drivers theirs.
func forced(dev *gousb.Device, active, value int) (*gousb.Config, error) {
	old, err := plainConfig(dev, active)
	if err != nil {
		return nil, err
	}
	old.Desc.Interfaces = unset(numbered(old.Desc.Interfaces))
	if err := dev.SetAutoDetach(true); err != nil {
		return nil, errors.Join(err, old.Close())
	}
	taken, err := takeAll(old)
	if err != nil {
		return nil, errors.Join(err, letGo(old, taken)) // the drivers get theirs back
	}
	if err := dev.SetAutoDetach(false); err != nil {
		return nil, errors.Join(err, letGo(old, taken))
	}
	if err := letGo(old, taken); err != nil { // and here they do not
		return nil, err
	}
	config, err := plainConfig(dev, value)
	if err == nil {
		return config, nil
	}
	if again := restore(dev, active); again != nil {
		err = errors.Join(err, again)
	}
	return nil, err
}

// restore gives the interfaces of the configuration in force back to their drivers.
func restore(dev *gousb.Device, active int) error {
	old, err := plainConfig(dev, active)
	if err != nil {
		return err
	}
	old.Desc.Interfaces = unset(numbered(old.Desc.Interfaces))
	if err := dev.SetAutoDetach(true); err != nil {
		return errors.Join(err, old.Close())
	}
	taken, err := takeAll(old)
	return errors.Join(err, letGo(old, taken))
}

// unset leaves each interface one setting, so that gousb, which sets one wherever there are several, leaves it as it is.
func unset(interfaces []gousb.InterfaceDesc) []gousb.InterfaceDesc {
	for n := range interfaces {
		interfaces[n].AltSettings = interfaces[n].AltSettings[:min(1, len(interfaces[n].AltSettings))]
	}
	return interfaces
}

func takeAll(config *gousb.Config) ([]*gousb.Interface, error) {
	var taken []*gousb.Interface
	for _, i := range config.Desc.Interfaces {
		if len(i.AltSettings) == 0 {
			continue
		}
		one, err := config.Interface(i.Number, i.AltSettings[0].Alternate)
		if err != nil {
			return taken, err
		}
		taken = append(taken, one)
	}
	return taken, nil
}

func letGo(config *gousb.Config, taken []*gousb.Interface) error {
	for _, one := range taken {
		one.Close()
	}
	return config.Close()
}
