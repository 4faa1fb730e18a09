package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
)

// oneFactory gives the second region the first one's factory key: devices move between them.
func (s *site) oneFactory(ctx context.Context) error {
	if err := s.do(ctx, "", "mfpcloud", "device", "token", "any", "--state", s.dir(regions[0].name)); err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(s.dir(regions[0].name), "factory.key"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir(regions[1].name), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir(regions[1].name), "factory.key"), key, 0o600)
}

// befriend makes each region the other's peer, and keeps the certificates of both in one file for the devices.
func (s *site) befriend(ctx context.Context) error {
	var all bytes.Buffer
	for i, r := range regions {
		other := regions[1-i]
		invitation, err := s.kept(ctx, r.name+"-invites-"+other.name, r.name, "peer", "invite", other.name)
		if err != nil {
			return err
		}
		certificate := filepath.Join(s.dir(r.name), "cert.pem")
		if err := s.do(ctx, "", "mfpcloud", "peer", "accept", invitation, "--ca", certificate, "--state", s.dir(other.name)); err != nil {
			return err
		}
		text, err := os.ReadFile(certificate)
		if err != nil {
			return err
		}
		all.Write(text)
	}
	return os.WriteFile(filepath.Join(s.base, "clouds.pem"), all.Bytes(), 0o600)
}
