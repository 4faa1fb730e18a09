package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// ErrAway is returned, with ErrMove, while the site region's cloud cannot be reached: nothing is done, and the same call may go well
// later.
var ErrAway = errors.New("the region's cloud cannot be reached")

// moveProblem is 404 for what is not there, 409 for what the present state forbids, 422 for what is wrong with the request and 503
// while the cloud is away. A refusal that brings its reason says it in the problem's type, as regions do.
func moveProblem(err error) error {
	status := http.StatusConflict
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNoMove), errors.Is(err, ErrNoDevice):
		status = http.StatusNotFound
	case errors.Is(err, ErrUnfit):
		status = http.StatusUnprocessableEntity
	case errors.Is(err, ErrAway):
		status = http.StatusServiceUnavailable
	case !errors.Is(err, ErrMove):
		return err
	}
	p := &huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: err.Error()}
	var no mfpgate.Refused
	if errors.As(err, &no) && no.Why() != "" {
		p.Type = api.ProblemType + string(no.Why())
	}
	return p
}

type moveIn struct {
	ID mfpgate.MoveID `path:"id" maxLength:"64"`
}

type startMoveIn struct {
	Key  string `header:"Idempotency-Key" maxLength:"128" doc:"The same key and request is answered as the first one was, for a day at least"`
	Body struct {
		Device mfpgate.DeviceID              `json:"deviceId" minLength:"1" maxLength:"64"`
		To     string                        `json:"toRegion,omitempty" pattern:"^([a-z]{2})?$" doc:"ISO 3166-1 alpha-2 in lower case; the site region if it is left out"`
		Data   map[string]mfpgate.DataPolicy `json:"data,omitempty" doc:"move, reset or leave, by class of data; the class \"\" names those that are not named; without it they are moved"`
		Plan   string                        `json:"plan,omitempty" maxLength:"128" doc:"Hash of the plan that was shown; required, unless dryRun is set"`
		DryRun bool                          `json:"dryRun,omitempty" doc:"Answer what a move would do, and do nothing"`
	}
}

// startMoveOut is a plan, or a move that has begun.
type startMoveOut struct {
	Status   int
	Location string `header:"Location"`
	Body     any
}

type oneMove struct{ Body mfpgate.Move }

func (in *startMoveIn) request() (mfpgate.MoveRequest, error) {
	for class, policy := range in.Body.Data {
		switch policy {
		case mfpgate.DataMove, mfpgate.DataReset, mfpgate.DataLeave:
		default:
			return mfpgate.MoveRequest{}, huma.Error422UnprocessableEntity("what becomes of data is move, reset or leave", &huma.ErrorDetail{
				Location: "body.data." + class, Message: "expected move, reset or leave", Value: policy})
		}
	}
	if !in.Body.DryRun && in.Body.Plan == "" {
		return mfpgate.MoveRequest{}, huma.Error422UnprocessableEntity("a move needs the hash of its plan: ask with dryRun, look at what would be done, and send the plan's hash",
			&huma.ErrorDetail{Location: "body.plan", Message: "required unless dryRun is set"})
	}
	return mfpgate.MoveRequest{Device: in.Body.Device, To: in.Body.To, Data: in.Body.Data, Plan: in.Body.Plan}, nil
}

func moves(a huma.API, g Moves) {
	const all = "/api/v1/moves"
	const one = all + "/{id}"
	get(a, "moves", "Open moves between regions, and those that ended in the last 90 days, the newest first",
		func(ctx context.Context, _ *struct{}) (*list[mfpgate.Move], error) {
			found, err := g.Moves(ctx)
			if err != nil {
				return nil, moveProblem(err)
			}
			for i := range found {
				found[i] = filledMove(found[i])
			}
			return listOf(found), nil
		})
	schema := func(t reflect.Type, name string) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{"application/json": {Schema: a.OpenAPI().Components.Schemas.Schema(t, true, name)}}
	}
	huma.Register(a, huma.Operation{OperationID: "start-move", Method: http.MethodPost, Path: all, DefaultStatus: http.StatusCreated,
		Summary: "Move a device to another region, as a plan says, or with dryRun ask for that plan",
		Responses: map[string]*huma.Response{
			"200": {Description: "The plan: what a move would do", Content: schema(reflect.TypeFor[mfpgate.MovePlan](), "MovePlan")},
			"201": {Description: "The move has begun", Content: schema(reflect.TypeFor[mfpgate.Move](), "Move")}}},
		func(ctx context.Context, in *startMoveIn) (*startMoveOut, error) {
			q, err := in.request()
			if err != nil {
				return nil, err
			}
			if in.Body.DryRun {
				plan, err := g.PlanMove(ctx, q)
				if err != nil {
					return nil, moveProblem(err)
				}
				return &startMoveOut{Status: http.StatusOK, Body: filledPlan(plan)}, nil
			}
			m, err := g.StartMove(ctx, q, CallerOf(ctx).Actor, in.Key)
			if err != nil {
				return nil, moveProblem(err)
			}
			return &startMoveOut{http.StatusCreated, all + "/" + string(m.ID), filledMove(m)}, nil
		})
	huma.Register(a, huma.Operation{OperationID: "get-move", Method: http.MethodGet, Path: one, Summary: "One move: its plan, its steps, and why it waits"},
		func(ctx context.Context, in *moveIn) (*oneMove, error) {
			m, err := g.Move(ctx, in.ID)
			if err != nil {
				return nil, moveProblem(err)
			}
			return &oneMove{filledMove(m)}, nil
		})
	act := func(verb, summary string, f func(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error)) {
		huma.Register(a, huma.Operation{OperationID: verb + "-move", Method: http.MethodPost, Path: one + "/" + verb, DefaultStatus: http.StatusOK, Summary: summary},
			func(ctx context.Context, in *moveIn) (*oneMove, error) {
				m, err := f(ctx, in.ID, CallerOf(ctx).Actor)
				if err != nil {
					return nil, moveProblem(err)
				}
				return &oneMove{filledMove(m)}, nil
			})
	}
	act("abort", "Take back a move that is not committed", g.AbortMove)
	act("retry", "Try the present step again at once", g.RetryMove)
	act("confirm-lost", "Give up waiting for a device that will not come to its new region", g.ConfirmLost)
	stream[mfpgate.Move]{name: "move", summary: "What it becomes, as server-sent events: the move at first and after each change, until it has ended", path: one + "/events",
		get: func(ctx context.Context, id string) (mfpgate.Move, error) {
			m, err := g.Move(ctx, mfpgate.MoveID(id))
			return filledMove(m), err
		},
		changes: func(ctx context.Context) iter.Seq[string] {
			return func(yield func(string) bool) {
				for id := range g.MoveChanges(ctx) {
					if !yield(string(id)) {
						return
					}
				}
			}
		},
		ended:   func(m mfpgate.Move) bool { return m.State.Ended() },
		problem: moveProblem}.register(a)
	residences(a, g)
}

type residencesIn struct {
	Accept string `header:"Accept" doc:"text/csv for a spreadsheet, else JSON"`
}

type residencesOut struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func residences(a huma.API, g Moves) {
	items := reflect.TypeFor[list[mfpgate.Residence]]()
	body, _ := items.FieldByName("Body")
	huma.Register(a, huma.Operation{OperationID: "get-residences", Method: http.MethodGet, Path: "/api/v1/residences",
		Summary: "Where each device's data are, since when, and whether the relay can keep it from other regions",
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
			"application/json": {Schema: a.OpenAPI().Components.Schemas.Schema(body.Type, true, "Residences")},
			"text/csv":         {Schema: &huma.Schema{Type: huma.TypeString}}}}}},
		func(ctx context.Context, in *residencesIn) (*residencesOut, error) {
			found, err := g.Residences(ctx)
			if err != nil {
				return nil, moveProblem(err)
			}
			if strings.Contains(in.Accept, "text/csv") {
				var text bytes.Buffer
				if err := WriteResidencesCSV(&text, found); err != nil {
					return nil, err
				}
				return &residencesOut{"text/csv; charset=utf-8; header=present", text.Bytes()}, nil
			}
			for i := range found {
				found[i] = filledResidence(found[i])
			}
			text, err := json.Marshal(listOf(found).Body)
			return &residencesOut{"application/json", text}, err
		})
	huma.Register(a, huma.Operation{OperationID: "enrol-device", Method: http.MethodPost, Path: "/api/v1/residences/{id}/enrol",
		Summary: "Register a device of another market in the site region, under the id that its market gave it; no data move"},
		func(ctx context.Context, in *deviceIn) (*struct{ Body mfpgate.Residence }, error) {
			r, err := g.EnrolDevice(ctx, in.ID, CallerOf(ctx).Actor)
			if err != nil {
				return nil, moveProblem(err)
			}
			return &struct{ Body mfpgate.Residence }{filledResidence(r)}, nil
		})
}
