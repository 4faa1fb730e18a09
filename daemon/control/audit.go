package control

import (
	"context"
	"errors"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate/store/journal"
)

// ErrNoRoom is returned for a room that keeps no audit.
var ErrNoRoom = errors.New("no room of this name keeps an audit")

// AuditEntry is a line of a room's chain.
type AuditEntry struct {
	Room string `json:"room"`
	journal.Entry
}

// AuditChain is what the look at a writer's chain came to.
type AuditChain struct {
	Gateway string `json:"gateway"`
	Room    string `json:"room"`
	Entries uint64 `json:"entries"`
	Hash    string `json:"hash" doc:"Of the last entry that is right; kept elsewhere, it shows later that a whole chain was written anew"`
	Wrong   string `json:"wrong" doc:"What is wrong with the first entry that is; empty if all are right"`
	Seq     uint64 `json:"seq,omitempty" doc:"Of that entry"`
}

// Audits are what was decided and done, by whom.
type Audits interface {
	// Audit are up to limit (1 to MaxAudit) entries, the newest first: of one room those before a sequence number, 0 being the newest;
	// of "", all rooms, the newest alone. ErrNoRoom.
	Audit(ctx context.Context, room string, before uint64, limit int) ([]AuditEntry, error)
	// VerifyAudit looks at each entry of each chain.
	VerifyAudit(context.Context) (AuditReport, error)
}

// AuditReport is what a look at every chain came to.
type AuditReport struct {
	At     time.Time    `json:"at"`
	Right  bool         `json:"right"`
	Chains []AuditChain `json:"chains" nullable:"false"`
}

// MaxAudit is how many entries are given at once.
const MaxAudit = 1000

type auditIn struct {
	Room   string `query:"room" maxLength:"64" doc:"One room's chain; without it the newest entries of all"`
	Before uint64 `query:"before" doc:"Entries of the room before this sequence number"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

func audits(api huma.API, g Audits) {
	huma.Register(api, huma.Operation{OperationID: "get-audit", Method: "GET", Path: "/api/v1/audit", Summary: "What was decided and done, by whom, the newest first"},
		func(ctx context.Context, in *auditIn) (*list[AuditEntry], error) {
			if in.Before > 0 && in.Room == "" {
				return nil, huma.Error422UnprocessableEntity("each room has its own numbers: before needs room")
			}
			entries, err := g.Audit(ctx, in.Room, in.Before, in.Limit)
			if errors.Is(err, ErrNoRoom) {
				return nil, huma.Error404NotFound(err.Error())
			}
			return listOf(entries), err
		})
	get(api, "audit/verify", "Whether anybody has changed the audit", func(ctx context.Context, _ *struct{}) (*struct{ Body AuditReport }, error) {
		report, err := g.VerifyAudit(ctx)
		if err != nil {
			return nil, err
		}
		if report.Chains == nil {
			report.Chains = []AuditChain{}
		}
		return &struct{ Body AuditReport }{report}, nil
	})
}
