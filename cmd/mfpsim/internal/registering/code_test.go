package registering_test

import (
	"fmt"
	"image"
	"image/color"
	"regexp"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

var (
	square = regexp.MustCompile(`M(\d+) (\d+)h1v1h-1z`)
	side   = regexp.MustCompile(`viewBox="0 0 (\d+) `)
)

func TestAPhoneReadsTheCode(t *testing.T) {
	t.Parallel()
	const link = "https://gateway.example:8443/register?device=dev_01JD7Y0000000000000000TEST"
	s := open(t)
	_, svg := s.panel(s.boot(), link).do("GET", "/code.svg", nil)
	size := 0
	if m := side.FindStringSubmatch(svg); m != nil {
		_, err := fmt.Sscan(m[1], &size)
		servertest.Must(t, err)
	}
	const scale = 4
	picture := image.NewGray(image.Rect(0, 0, size*scale, size*scale))
	for i := range picture.Pix {
		picture.Pix[i] = 0xff
	}
	for _, m := range square.FindAllStringSubmatch(svg, -1) {
		var x, y int
		_, err := fmt.Sscan(m[1], &x)
		servertest.Must(t, err)
		_, err = fmt.Sscan(m[2], &y)
		servertest.Must(t, err)
		for dy := range scale {
			for dx := range scale {
				picture.SetGray(x*scale+dx, y*scale+dy, color.Gray{})
			}
		}
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	servertest.Must(t, err)
	got, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	servertest.Must(t, err)
	if got.GetText() != link {
		t.Errorf("read %q, want %q", got.GetText(), link)
	}
}
