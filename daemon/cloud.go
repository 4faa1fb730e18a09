package daemon

import (
	"sync"

	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/config"
)

// clouds keeps the client of the cloud that the configuration names, so that calls share connections.
type clouds struct {
	mu     sync.Mutex
	of     config.Cloud
	client *client.Client
}

// call returns the client of a cloud; the one of an earlier configuration is closed.
func (d *Daemon) call(cloud config.Cloud) (*client.Client, error) {
	c := &d.clouds
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil && cloudName(c.of) == cloudName(cloud) && c.of.Token.Equal(cloud.Token) {
		return c.client, nil
	}
	next, err := client.New(client.Options{URL: cloud.URL.String(), Gateway: cloud.GatewayID, Token: cloud.Token, Clock: d.Clock,
		UserAgent: "mfpgate/" + d.Build.Version})
	if err != nil {
		return nil, err
	}
	if c.client != nil {
		c.client.Close()
	}
	c.of, c.client = cloud, next
	return next, nil
}

// close frees the connections.
func (c *clouds) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		c.client.Close()
		c.client = nil
	}
}
