package control

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate"
)

var (
	// ErrUnfit is returned, with ErrRegistration, for a request that nothing but another request can mend: a user or an administrator
	// that cannot be, a service or a device that is not there.
	ErrUnfit = errors.New("the request cannot be taken")
	// ErrTooOften is returned, with ErrRegistration, for what may be asked again later. A method `Delay() time.Duration` of the
	// error says when.
	ErrTooOften = errors.New("too often")
)

// RegistrationDetail is a registration with what only administrators see.
type RegistrationDetail struct {
	mfpgate.Registration
	UserCode string `json:"userCode" doc:"What the administrator types at verificationUri; empty while there is none"`
}

func detail(r mfpgate.Registration) RegistrationDetail {
	return RegistrationDetail{r, r.UserCode.Reveal()}
}

// registrationProblem is 409 for what the present state forbids, 422 for what is wrong with the request, 429 for what comes too early.
func registrationProblem(err error) error {
	switch {
	case errors.Is(err, ErrNoRegistration):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, ErrTooOften):
		said := huma.Error429TooManyRequests(err.Error())
		if later := mfpgate.RetryDelay(err); later > 0 {
			seconds := int64((later + time.Second - 1) / time.Second)
			return huma.ErrorWithHeaders(said, http.Header{"Retry-After": {strconv.FormatInt(seconds, 10)}})
		}
		return said
	case errors.Is(err, ErrUnfit):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, ErrRegistration):
		return huma.Error409Conflict(err.Error())
	}
	return err
}

type registrationIn struct {
	ID string `path:"id" maxLength:"64"`
}

type registerIn struct {
	Key  string `header:"Idempotency-Key" maxLength:"128" doc:"The same key and request is answered as the first one was, for a day at least"`
	Body struct {
		Device  mfpgate.DeviceID `json:"deviceId" minLength:"1" maxLength:"64"`
		Service string           `json:"service" minLength:"1" maxLength:"64" doc:"One of /api/v1/print-services"`
		User    string           `json:"user" minLength:"3" maxLength:"254" doc:"Mail address of who shall be allowed to print"`
		Admin   string           `json:"admin,omitempty" maxLength:"254" doc:"Mail address of who shall approve, instead of the configured one"`
		Retries int              `json:"retries,omitempty" minimum:"0" maximum:"10" doc:"New codes after the first, 2 to 10; 0 is as configured"`
	}
}

type decideIn struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Approve bool `json:"approve"`
	}
}

type registrationOut struct {
	Status   int
	Location string `header:"Location"`
	Body     mfpgate.Registration
}

func registrations(api huma.API, g Registrations) {
	const all = "/api/v1/registrations"
	const one = all + "/{id}"
	get(api, "print-services", "The print services in which devices can be registered", func(ctx context.Context, _ *struct{}) (*list[PrintService], error) {
		return listOf(g.PrintServices(ctx)), nil
	})
	get(api, "registrations", "Open registrations, and those that ended in the last 30 days, the newest first",
		func(ctx context.Context, _ *struct{}) (*list[mfpgate.Registration], error) {
			list, err := g.Registrations(ctx)
			return listOf(list), err
		})
	huma.Register(api, huma.Operation{OperationID: "register", Method: http.MethodPost, Path: all, DefaultStatus: http.StatusAccepted,
		Summary: "Ask for a device, and a user of it, to be entered in a print service. 202: it begins; 200: the same is open already"},
		func(ctx context.Context, in *registerIn) (*registrationOut, error) {
			who := CallerOf(ctx)
			r, created, err := g.Register(ctx, mfpgate.RegistrationRequest{Device: in.Body.Device, Service: in.Body.Service, User: in.Body.User,
				Account: who.Account, Admin: in.Body.Admin, Retries: in.Body.Retries, From: who.From}, who.Actor, in.Key)
			if err != nil {
				return nil, registrationProblem(err)
			}
			status := http.StatusOK
			if created {
				status = http.StatusAccepted
			}
			return &registrationOut{status, all + "/" + r.ID, r}, nil
		})
	huma.Register(api, huma.Operation{OperationID: "get-registration", Method: http.MethodGet, Path: one,
		Summary: "One registration, with the code that its administrator types"},
		func(ctx context.Context, in *registrationIn) (*struct{ Body RegistrationDetail }, error) {
			r, err := g.Registration(ctx, in.ID)
			if err != nil {
				return nil, registrationProblem(err)
			}
			return &struct{ Body RegistrationDetail }{detail(r)}, nil
		})
	// A change of a registration is ordered by what it does, and not by a version: each is refused where it makes no sense any more.
	change := func(name, method, path, summary string, f func(ctx context.Context, id, actor string) error) {
		huma.Register(api, huma.Operation{OperationID: name, Method: method, Path: path, Summary: summary, DefaultStatus: http.StatusNoContent},
			func(ctx context.Context, in *registrationIn) (*struct{}, error) {
				return nil, registrationProblem(f(ctx, in.ID, CallerOf(ctx).Actor))
			})
	}
	change("cancel-registration", http.MethodDelete, one, "End an open registration", g.CancelRegistration)
	change("resend-registration", http.MethodPost, one+"/resend", "Mail the administrator once more", g.ResendRegistration)
	huma.Register(api, huma.Operation{OperationID: "retry-registration", Method: http.MethodPost, Path: one + "/retry", DefaultStatus: http.StatusAccepted,
		Summary: "Ask anew for what has failed or was cancelled"},
		func(ctx context.Context, in *registrationIn) (*registrationOut, error) {
			r, err := g.RetryRegistration(ctx, in.ID, CallerOf(ctx).Actor)
			if err != nil {
				return nil, registrationProblem(err)
			}
			return &registrationOut{http.StatusAccepted, all + "/" + r.ID, r}, nil
		})
	huma.Register(api, huma.Operation{OperationID: "decide-registration", Method: http.MethodPost, Path: one + "/decide", DefaultStatus: http.StatusNoContent,
		Summary: "Approve or deny, where the print service asks nobody and the registration says local"},
		func(ctx context.Context, in *decideIn) (*struct{}, error) {
			return nil, registrationProblem(g.DecideRegistration(ctx, in.ID, CallerOf(ctx).Actor, in.Body.Approve))
		})
	stream[mfpgate.Registration]{name: "registration", path: one + "/events", // its code is not in its JSON
		summary: "What it becomes, as server-sent events: the registration at first and after each change, until it has ended",
		get:     g.Registration, changes: g.RegistrationChanges, problem: registrationProblem,
		ended: func(r mfpgate.Registration) bool { return r.State.Ended() }}.register(api)
}
