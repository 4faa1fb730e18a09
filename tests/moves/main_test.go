package moves_test

import (
	"flag"
	"testing"

	"github.com/mfpgate/mfpgate/tests/rig"
)

// Moves wait most of the time: all sites are there at once, however few processors there are.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	rig.Main(m)
}
