package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
)

// residing says how devices live in a region.
type residing struct {
	servicesURL              string
	keys, services           []string
	dataEvery                time.Duration
	pinned, plain, redirects bool
	directiveEvery           int
}

func residingFlags(c *cobra.Command) *residing {
	r := &residing{}
	f := c.Flags()
	f.StringArrayVar(&r.services, "service", nil, "service that it registers in at its first start, with child services: document-cloud=translate,whiteboard; may be given again")
	f.StringVar(&r.servicesURL, "services-url", "", "base URL of its region's services; empty: as its registration says")
	f.StringArrayVar(&r.keys, "region-key", nil, "public key of a region whose directives it trusts, base64 or a file with it (mfpcloud key); may be given again")
	f.DurationVar(&r.dataEvery, "data-every", 0, "store an item of data at the services so often; 0: never")
	f.BoolVar(&r.pinned, "pinned", false, "never ask where its region is now")
	f.BoolVar(&r.plain, "plain", false, "speak http to every server, whatever its URL says: through the relay as requests with absolute addresses")
	f.BoolVar(&r.redirects, "follow-redirects", false, "with --plain: follow answers of status 308, as some models do")
	f.IntVar(&r.directiveEvery, "directive-every", 20, "check-ins between two questions where its region is now")
	return r
}

// complete fills in what a device knows of regions.
func (r *residing) complete(o *mfp.Options) (err error) {
	to := &o.Residing
	switch {
	case r.redirects && !r.plain:
		return errors.New("follow-redirects: needs --plain")
	case r.directiveEvery < 1:
		return errors.New("directive-every: must be 1 or more")
	case r.dataEvery < 0:
		return errors.New("data-every: must not be negative")
	}
	if r.servicesURL != "" {
		to.ServicesURL, err = url.Parse(r.servicesURL)
		if err != nil || to.ServicesURL.Host == "" {
			return fmt.Errorf("services-url %q: must be a URL such as https://127.0.0.1:8442", r.servicesURL)
		}
	}
	for _, text := range r.services {
		s, err := heldService(text)
		if err != nil {
			return err
		}
		to.Services = append(to.Services, s)
	}
	for _, text := range r.keys {
		key, err := regionKey(text)
		if err != nil {
			return err
		}
		to.RegionKeys = append(to.RegionKeys, key)
	}
	to.DataEvery, to.Pinned, to.Plain, to.Redirects, to.DirectiveEvery = r.dataEvery, r.pinned, r.plain, r.redirects, r.directiveEvery
	return nil
}

// heldService reads name=child,child.
func heldService(text string) (mfpgate.HeldService, error) {
	id, list, _ := strings.Cut(text, "=")
	s := mfpgate.HeldService{ID: strings.TrimSpace(id), Children: []string{}}
	for child := range strings.SplitSeq(list, ",") {
		if child = strings.TrimSpace(child); child != "" {
			s.Children = append(s.Children, child)
		}
	}
	if s.ID == "" {
		return s, fmt.Errorf("service %q: must be name=child,child", text)
	}
	return s, nil
}

// regionKey reads a public key, or the file that it is in.
func regionKey(text string) (ed25519.PublicKey, error) {
	if key, err := jws.ParseKey(text); err == nil {
		return key, nil
	}
	data, err := os.ReadFile(text)
	if err != nil {
		return nil, fmt.Errorf("region-key: %q is no key in base64, and no file: %w", text, err)
	}
	key, err := jws.ParseKey(strings.TrimSpace(string(data)))
	if err != nil {
		return nil, fmt.Errorf("region-key %s: %w", text, err)
	}
	return key, nil
}
