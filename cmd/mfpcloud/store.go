package main

import (
	"context"
	"log/slog"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/store/badger"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

func openStore(ctx context.Context, folder *provision.Folder, clock mfpgate.Clock, log telemetry.Logger) (*badger.DB, error) {
	return badger.Open(ctx, badger.Options{Dir: folder.FactsPath(), Clock: clock, Log: func(level slog.Level, text string) {
		e := log.Debug()
		switch {
		case level >= slog.LevelError:
			e = log.Error()
		case level >= slog.LevelWarn:
			e = log.Warn()
		}
		e.Str(field.Text, text).Msg(event.StoreNoise)
	}})
}
