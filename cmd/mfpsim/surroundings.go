package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
)

// surroundings are what the devices of one process share.
type surroundings struct {
	cloud, ca, proxy, proxyUser, proxyPasswordFile string
	factoryKey, tokenFile                          string
	model, firmware                                string
	poll                                           time.Duration
	json, tally                                    bool
	printing                                       *printing
	residing                                       *residing
	roots                                          *x509.CertPool // read once for all
	registration                                   *registration
}

func surroundingsFlags(c *cobra.Command) *surroundings {
	s := &surroundings{registration: &registration{}}
	f := c.Flags()
	f.StringVar(&s.cloud, "cloud", "", "the cloud's base URL")
	f.StringVar(&s.ca, "ca", "", "file with the certificates to trust, PEM, of every region it may move to; empty: the system's")
	f.StringVar(&s.proxy, "proxy", "", "the relay, http://host:3128; empty: none")
	f.StringVar(&s.proxyUser, "proxy-user", "", "user at the relay")
	f.StringVar(&s.proxyPasswordFile, "proxy-password-file", "", "file with the password at the relay")
	f.StringVar(&s.factoryKey, "factory-key", "", "the region's factory.key, from which the device's token is made")
	f.StringVar(&s.tokenFile, "token-file", "", "file with the device's token, in place of --factory-key")
	f.StringVar(&s.model, "model", "SIM-100", "model")
	f.StringVar(&s.firmware, "firmware", "1.0", "version that a new device runs")
	f.DurationVar(&s.poll, "poll", 5*time.Second, "between check-ins; 0: what the cloud says")
	f.BoolVar(&s.json, "json", false, "one JSON object per event")
	f.BoolVar(&s.tally, "tally", false, "tell at the end what became of the device's requests to its servers, by outcome")
	s.printing = printingFlags(c)
	s.residing = residingFlags(c)
	must(c.MarkFlagRequired("cloud"))
	c.MarkFlagsOneRequired("factory-key", "token-file")
	c.MarkFlagsMutuallyExclusive("factory-key", "token-file")
	return s
}

// complete fills in what all devices share.
func (s *surroundings) complete(o *mfp.Options) (err error) {
	if err := provision.CheckName(o.ID); err != nil {
		return err
	}
	if o.Cloud, err = url.Parse(s.cloud); err != nil || o.Cloud.Host == "" {
		return fmt.Errorf("cloud %q: must be a URL such as https://127.0.0.1:8441", s.cloud)
	}
	if s.proxy != "" {
		if o.Proxy, err = url.Parse(s.proxy); err != nil || o.Proxy.Scheme != "http" || o.Proxy.Host == "" {
			return errors.New("proxy: must be http://host:port")
		}
	}
	if s.proxyUser != "" {
		if o.Proxy == nil || s.proxyPasswordFile == "" {
			return errors.New("proxy-user: needs --proxy and --proxy-password-file too")
		}
		password, err := os.ReadFile(s.proxyPasswordFile)
		if err != nil {
			return fmt.Errorf("proxy password: %w", err)
		}
		o.Proxy.User = url.UserPassword(s.proxyUser, strings.TrimRight(string(password), "\r\n"))
	}
	if s.roots == nil {
		if s.roots, err = trust(s.ca); err != nil {
			return err
		}
	}
	o.RootCAs = s.roots
	if o.Token, err = s.token(o.ID); err != nil {
		return err
	}
	if err := s.residing.complete(o); err != nil {
		return err
	}
	o.Model, o.Firmware, o.Poll, o.Clock, o.Tally = s.model, s.firmware, s.poll, mfpgate.SystemClock{}, s.tally
	o.Jitter = func(bound time.Duration) time.Duration { return rand.N(bound + 1) }
	return nil
}

func (s *surroundings) token(id string) (mfpgate.Secret, error) {
	if s.tokenFile != "" {
		data, err := os.ReadFile(s.tokenFile)
		if err != nil {
			return "", fmt.Errorf("token: %w", err)
		}
		return mfpgate.Secret(strings.TrimSpace(string(data))), nil
	}
	data, err := os.ReadFile(s.factoryKey)
	if err != nil {
		return "", fmt.Errorf("factory key: %w", err)
	}
	key, err := provision.ParseFactoryKey(data)
	if err != nil {
		return "", err
	}
	return provision.DeviceToken(key, id), nil
}
