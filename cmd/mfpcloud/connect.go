package main

import (
	"fmt"
	"strings"

	"github.com/mfpgate/mfpgate/cloud/client/peer"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	roles "github.com/mfpgate/mfpgate/cloud/server/region"
)

// connect has a region's roles call others as package peer does.
func connect(p roles.Peering) (*roles.Link, error) {
	to, err := peer.Open(peer.Options{
		Region: p.Region, ManagementURL: p.ManagementURL, ServicesURL: p.ServicesURL, ManagementToken: p.ManagementToken, ServicesToken: p.ServicesToken,
		Keys: p.Keys, RootCAs: p.RootCAs, Clock: p.Clock, UserAgent: "mfpcloud",
	})
	if err != nil {
		return nil, err
	}
	services := to.Services()
	return &roles.Link{
		Services: services, Management: to.Management(), Register: services.Register, Send: services.Send, Hosts: to.Hosts, Close: to.Close,
	}, nil
}

// addresses reads --peer: us=https://… with the URL of the management server and, behind a comma, that of the services if devices know
// these by a name that this region does not resolve.
func addresses(texts []string) (map[string]roles.Address, error) {
	of := map[string]roles.Address{}
	for _, text := range texts {
		name, urls, ok := strings.Cut(text, "=")
		management, services, apart := strings.Cut(urls, ",")
		if !ok || provision.CheckRegion(name) != nil || management == "" || apart && services == "" {
			return nil, fmt.Errorf("peer %q: write REGION=URL, such as us=https://us.cloud.example:8443, or REGION=URL,SERVICES-URL", text)
		}
		if _, twice := of[name]; twice {
			return nil, fmt.Errorf("peer %s: named twice", name)
		}
		for _, u := range []string{management, services} {
			if err := checkPublic(u); err != nil {
				return nil, fmt.Errorf("peer %s: %w", name, err)
			}
		}
		of[name] = roles.Address{Management: management, Services: services}
	}
	return of, nil
}
