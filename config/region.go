package config

import "fmt"

// RegionPolicy says who begins the move of a device whose data live in another region than the site.
type RegionPolicy string

// The policies.
const (
	RegionAsk       RegionPolicy = "ask"       // an administrator, whom the gateway tells
	RegionAutomatic RegionPolicy = "automatic" // the gateway
	RegionNever     RegionPolicy = "never"     // nobody; the gateway says where data are, and no more
)

// Region is how the gateway deals with the regions that devices' data live in.
type Region struct {
	Enforce         bool // whether the relay keeps devices from regions that are not theirs
	Policy          RegionPolicy
	FollowRedirects []string // models known to follow a redirect (RFC 9110 §15.4.9) of a plain request
}

func regions(g *Region) object {
	return object{
		may("enforce", "whether the relay keeps a device from the region that it has left", one(&g.Enforce, boolean()).or("true")),
		may("policy", "who moves a device whose data live in another region: ask tells an administrator, automatic moves it, never says where data are and no more",
			one(&g.Policy, enum(RegionAsk, RegionAutomatic, RegionNever)).or("ask")),
		may("follow_redirects", "models that are known to follow a redirect; the relay answers them with one, and forwards the plain requests of all others",
			many(&g.FollowRedirects, 0, 100, line(256))),
	}
}

// checkRegion refuses what nobody could carry out.
func (r *reader) checkRegion(c *Config) {
	if c.Region.Policy == RegionAutomatic && c.Cloud.URL == nil && r.good("cloud") && r.good("cloud.url") {
		r.fail("region.policy", "needs cloud: moves are made by the region's own; add it, or write never")
	}
	once := r.once()
	for i, model := range c.Region.FollowRedirects {
		once(fmt.Sprintf("region.follow_redirects[%d]", i), model)
	}
}
