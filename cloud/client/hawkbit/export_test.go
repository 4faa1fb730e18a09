package hawkbit

import (
	"encoding/json"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Decode reads a page of actions as survey does, for the fuzzer.
func Decode(body []byte, now time.Time) ([]mfpgate.Delivery, error) {
	var p page[action]
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, err
	}
	c := &Client{}
	var out []mfpgate.Delivery
	for i := range p.Content {
		if err := p.Content[i].check(false); err != nil {
			return nil, err
		}
		out = append(out, c.delivery(&p.Content[i], traits{device: "dev_a"}, 0, now))
	}
	return out, nil
}
