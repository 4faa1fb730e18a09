package control

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate"
)

func users(api huma.API, g Gateway) {
	huma.Register(api, huma.Operation{OperationID: "get-users", Method: http.MethodGet, Path: "/api/v1/users", Summary: "The portal accounts"},
		func(ctx context.Context, _ *struct{}) (*list[User], error) {
			all, err := g.ListUsers(ctx)
			return listOf(all), err
		})
	huma.Register(api, huma.Operation{OperationID: "put-user", Method: http.MethodPut, Path: "/api/v1/users/{name}",
		Summary: "Make a portal account, or give it a new password", DefaultStatus: http.StatusNoContent},
		func(ctx context.Context, in *struct {
			Name string `path:"name" maxLength:"64"`
			Body struct {
				Password string `json:"password" maxLength:"72"`
				Email    string `json:"email,omitempty" maxLength:"254" doc:"Mail address, which a user must have; empty leaves what there is"`
				Role     Role   `json:"role,omitempty" enum:"administrator,user" doc:"Empty leaves what there is; a new account is an administrator then"`
			}
		}) (*struct{}, error) {
			err := g.AddUser(ctx, User{Name: in.Name, Email: in.Body.Email, Role: in.Body.Role}, mfpgate.Secret(in.Body.Password))
			if errors.Is(err, ErrUser) {
				return nil, huma.Error422UnprocessableEntity(err.Error())
			}
			return nil, err
		})
	huma.Register(api, huma.Operation{OperationID: "delete-user", Method: http.MethodDelete, Path: "/api/v1/users/{name}",
		Summary: "Remove a portal account and end its logins", DefaultStatus: http.StatusNoContent},
		func(ctx context.Context, in *struct {
			Name string `path:"name" maxLength:"64"`
		}) (*struct{}, error) {
			err := g.RemoveUser(ctx, in.Name)
			if errors.Is(err, ErrNoUser) {
				return nil, huma.Error404NotFound(err.Error())
			}
			return nil, err
		})
}
