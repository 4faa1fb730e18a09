package moves_test

import (
	"testing"

	"github.com/mfpgate/mfpgate/tests/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }
