package region

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate/broker/region/holding"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// Register mounts the management server. Each operation names its callers.
func (m *Management) Register(a huma.API) {
	op := m.Operation
	huma.Register(a, op(http.MethodGet, api.RegionsPath, "get-regions", "Where the roles of every region are, signed", RoleAnybody), m.signedRegions)
	huma.Register(a, op(http.MethodGet, api.RegionKeysPath, "get-region-keys", "Under which keys regions sign", RoleAnybody), m.keys)

	moves := "/v1/gateways/{gw}/moves"
	start := op(http.MethodPost, moves, "start-move", "Plan a move (dryRun), or begin it as its plan says", RoleGateway)
	start.Responses["200"] = &huma.Response{Description: "The plan"}
	start.DefaultStatus = http.StatusCreated
	huma.Register(a, start, m.startMove)
	huma.Register(a, op(http.MethodGet, moves, "list-changed-moves", "Moves that have changed, held back while there are none", RoleGateway), m.listMoves)
	huma.Register(a, op(http.MethodGet, moves+"/{id}", "get-move", "One move of the gateway", RoleGateway), m.getMove)
	huma.Register(a, op(http.MethodPost, moves+"/{id}/{verb}", "act-on-move", "Decide about a move, or tell of it", RoleGateway), m.act)
	huma.Register(a, op(http.MethodGet, "/v1/gateways/{gw}/residences", "list-residences", "Where the data of the gateway's devices are", RoleGateway), m.listResidences)
	huma.Register(a, op(http.MethodPost, "/v1/gateways/{gw}/registrations", "enrol-device", "Register a device of another market here, under its market's id", RoleGateway), m.enrol)

	huma.Register(a, op(http.MethodGet, "/v1/moves", "list-moves", "The moves of every gateway, the newest first", RoleOperator), m.listAll)
	huma.Register(a, op(http.MethodGet, "/v1/moves/{id}", "get-any-move", "One move", RoleOperator), m.getAny)
	huma.Register(a, op(http.MethodPost, "/v1/moves/{id}/{verb}", "act-on-any-move", "Decide about a move", RoleOperator), m.actAny)

	huma.Register(a, op(http.MethodGet, api.RegistrantsPath, "find-registrant", "The device of a model and serial number", RolePeerManagement), m.findDevice)
	huma.Register(a, op(http.MethodPost, api.OrdersPath, "order-management", "Take a step of a move: copy, delta, notify, redirect, delete", RolePeerManagement), m.obey)

	huma.Register(a, op(http.MethodPost, api.DevicesPath, "register-device", "A device registers with its region, once", RoleDevice), m.registerDevice)
	huma.Register(a, op(http.MethodGet, api.DirectivePath, "get-directive", "Which cloud is the device's from now on", RoleDevice), m.directive)
	ack := op(http.MethodPost, api.DirectiveAckPath, "ack-directive", "The device goes by its directive", RoleDevice)
	ack.DefaultStatus = http.StatusNoContent
	huma.Register(a, ack, m.acknowledge)
}

// Audit is the operators' view of a region's audit chains. It is no part of a role: it reads the stores of both.
type Audit struct {
	rooms map[string]room
	door  Door
}

type room struct {
	journal *journal.Journal
	store   store.Store
}

// NewAudit reads the chains of both roles.
func NewAudit(m *Management, s *Services) (*Audit, error) {
	kept, err := journal.New(s.Store, journal.Options{
		Clock: s.Clock, Rand: rand.New(rand.NewPCG(0, 0)), // for delays of calls, of which there are none
		Gateway: s.Region, Room: holding.Room,
	})
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return &Audit{rooms: map[string]room{RoomManagement: {m.journal, m.Store}, holding.Room: {kept, s.Store}}, door: m.Door}, nil
}

// RoomPath names an audit chain.
type RoomPath struct {
	Room string `path:"room" enum:"management,services"`
}

// Chain is what came of a verification.
type Chain struct {
	Writer  string        `json:"writer"`
	Entries uint64        `json:"entries"`
	Hash    string        `json:"hash" doc:"Of the last entry that is right; kept elsewhere it shows a chain that was written anew"`
	Wrong   journal.Wrong `json:"wrong" doc:"Empty if all is right"`
	Seq     uint64        `json:"seq" doc:"Of the first entry that is wrong"`
}

// Register mounts it.
func (a *Audit) Register(to huma.API) {
	huma.Register(to, a.door.Operation(http.MethodGet, "/v1/audit/{room}", "list-audit", "Entries of an audit chain, the newest first", RoleOperator), a.list)
	huma.Register(to, a.door.Operation(http.MethodGet, "/v1/audit/{room}/verify", "verify-audit", "Whether an audit chain is whole", RoleOperator), a.verify)
}

func (a *Audit) list(ctx context.Context, in *struct {
	RoomPath
	Before uint64 `query:"before" doc:"A sequence number; missing: from the newest"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}) (*struct{ Body api.Page[journal.Entry] }, error) {
	list, err := a.rooms[in.Room].journal.ListAudit(ctx, in.Before, in.Limit)
	if err != nil {
		return nil, answer(err)
	}
	return &struct{ Body api.Page[journal.Entry] }{api.Page[journal.Entry]{Items: append([]journal.Entry{}, list...)}}, nil
}

func (a *Audit) verify(ctx context.Context, in *RoomPath) (*struct{ Body api.Page[Chain] }, error) {
	report, err := journal.VerifyAudit(ctx, a.rooms[in.Room].store, "audit/")
	if err != nil {
		return nil, answer(err)
	}
	page := api.Page[Chain]{Items: []Chain{}}
	for _, c := range report.Chains {
		page.Items = append(page.Items, Chain{c.Gateway + "/" + c.Room, c.Entries, c.Hash, c.Wrong, c.Seq})
	}
	return &struct{ Body api.Page[Chain] }{page}, nil
}
