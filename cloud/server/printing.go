package server

import (
	"net/http"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/print"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// registerPrint mounts the print service, which has its own clients and administrators. Its pages look as the operators' do.
func (s *Server) registerPrint(asset func(string) (string, error)) error {
	sealer, err := s.Folder.PrintSealer()
	if err != nil {
		return err
	}
	certificate, key, err := s.Folder.PrintAuthority()
	if err != nil {
		return err
	}
	s.print, err = print.New(print.Options{
		Region: s.Region, Store: store.Prefix(s.Store, "print/"), Clock: s.Clock, Sealer: sealer,
		Authority:     print.Authority{Certificate: certificate, Key: key},
		Administrator: s.Folder.CheckAdministrator, Mailer: s.Mailer,
		URL: s.PublicURL, Lifetime: s.CodeLifetime, Interval: s.CodeInterval, Heartbeat: s.PushInterval, Asset: asset,
		Noted: func(r *http.Request, reason mfpgate.Reason, detail string, cause error) string {
			c := callOf(r.Context())
			c.reason, c.detail, c.cause = reason, detail, cause
			return c.id
		},
		Caller: func(r *http.Request, who string) { callOf(r.Context()).who = principal{roleAdministrator, who} },
		Troubled: func(err error) {
			s.Log.Error().Str(field.Region, s.Region).AnErr(field.Error, err).Msg(event.CloudRefused)
		},
		Ending: s.ending,
	})
	if err != nil {
		return err
	}
	s.print.Mount(s.mux)
	return nil
}
