package server

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/throttle"
)

type role = region.Role

// The roles, which are also the names of OpenAPI's security schemes.
const (
	roleGateway = region.RoleGateway
	roleDevice  = region.RoleDevice
	// roleOperator is a person of the region, who may read what gateways tell and delete a device.
	roleOperator = region.RoleOperator
	// roleAdministrator is whom the print service let through: an administrator, or a client with a grant of one.
	roleAdministrator role = "administrator"
	// rolePeerManagement and rolePeerServices are the two roles of another region; the own management server has the first, too.
	rolePeerManagement = region.RolePeerManagement
	rolePeerServices   = region.RolePeerServices
	// roleAnybody lets a call through that proves nothing. It is no scheme.
	roleAnybody = region.RoleAnybody
)

// principal is who called, as its token proves.
type principal struct {
	role role
	id   string
}

// authorize lets a call through if its operation names the caller's role and the path is the caller's own.
func (s *Server) authorize(ctx huma.Context, next func(huma.Context)) {
	if public(ctx.Operation()) {
		next(ctx)
		return
	}
	who, p := s.authenticate(ctx.Header("Authorization"), ctx.RemoteAddr())
	if p == nil {
		callOf(ctx.Context()).who = who
		p = permit(ctx, who)
	}
	if p == nil && who.role == roleDevice && strings.HasPrefix(ctx.Operation().Path, "/v1/devices/") {
		p = s.stays(ctx.Context(), who.id)
	}
	if p != nil {
		r, w := humago.Unwrap(ctx)
		writeProblem(w, r, p)
		return
	}
	next(ctx)
}

// public tells of an operation that anybody may call: it says so by a requirement of nothing.
func public(op *huma.Operation) bool { return len(op.Security) == 1 && len(op.Security[0]) == 0 }

func (s *Server) authenticate(header, remote string) (principal, *problem) {
	scheme, text, _ := strings.Cut(header, " ")
	if strings.EqualFold(scheme, "Basic") {
		return s.operator(text, remote)
	}
	if !strings.EqualFold(scheme, "Bearer") || text == "" {
		return principal{}, refuse(http.StatusUnauthorized, ReasonNoToken,
			"send the token as `Authorization: Bearer TOKEN`").with("WWW-Authenticate", `Bearer realm="`+s.Region+`"`)
	}
	token := mfpgate.Secret(strings.TrimSpace(text))
	if id, err := provision.DeviceOf(s.factory, token); err == nil {
		return principal{roleDevice, id}, nil
	}
	switch peer, as, err := s.Folder.PeerOf(token); {
	case err == nil && as == provision.PeerServices:
		return principal{rolePeerServices, peer}, nil
	case err == nil:
		return principal{rolePeerManagement, peer}, nil
	case !errors.Is(err, provision.ErrToken):
		return principal{}, internal(err)
	}
	id, err := s.Folder.GatewayOf(token)
	switch {
	case err == nil:
		return principal{roleGateway, id}, nil
	case errors.Is(err, provision.ErrToken):
		return principal{}, refuse(http.StatusUnauthorized, ReasonBadToken, "this region does not know the token").
			with("WWW-Authenticate", `Bearer realm="`+s.Region+`", error="invalid_token"`)
	default:
		return principal{}, internal(err)
	}
}

// operator checks credentials of RFC 7617. They go over TLS or loopback only, as everything here does.
func (s *Server) operator(credentials, remote string) (principal, *problem) {
	source := throttle.Source(remote)
	if wait := s.wrong.Wait(source); wait > 0 {
		seconds := int64(wait/time.Second) + 1
		return principal{}, refuse(http.StatusTooManyRequests, ReasonThrottled, "too many wrong passwords came from this address; wait").
			with("Retry-After", strconv.FormatInt(seconds, 10))
	}
	pair, err := base64.StdEncoding.DecodeString(strings.TrimSpace(credentials))
	name, password, ok := strings.Cut(string(pair), ":")
	if err == nil && ok {
		err = s.Folder.CheckOperator(name, mfpgate.Secret(password))
	} else {
		err = provision.ErrOperator
	}
	switch {
	case err == nil:
		return principal{roleOperator, name}, nil
	case errors.Is(err, provision.ErrOperator):
		s.wrong.Take(source)
		return principal{}, askOperator(refuse(http.StatusUnauthorized, ReasonBadToken, "the operator's name or password is wrong"), s.Region)
	default:
		return principal{}, internal(err)
	}
}

func askOperator(p *problem, region string) *problem {
	return p.with("WWW-Authenticate", `Basic realm="mfpcloud `+region+`", charset="UTF-8"`)
}

func permit(ctx huma.Context, who principal) *problem {
	named := false
	for _, scheme := range ctx.Operation().Security {
		_, ok := scheme[string(who.role)]
		named = named || ok
	}
	if !named {
		return refuse(http.StatusForbidden, ReasonRole, "a "+string(who.role)+" may not do this")
	}
	owner := ""
	switch who.role {
	case roleGateway:
		owner = ctx.Param("gw")
	case roleDevice:
		owner = ctx.Param("mfp")
	}
	if owner != "" && owner != who.id {
		return refuse(http.StatusForbidden, ReasonNotYours, "the token is that of "+string(who.role)+" "+who.id)
	}
	return nil
}
