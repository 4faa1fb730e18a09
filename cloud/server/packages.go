package server

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
)

// PackagePath names a package.
type PackagePath struct {
	Package string `path:"id" maxLength:"128"`
}

func (s *Server) registerPackages(a huma.API) {
	huma.Register(a, operation(a, http.MethodGet, "/v1/packages", "list-packages",
		"The packages of this region, the oldest first", roleGateway, roleDevice), s.listPackages)
	huma.Register(a, operation(a, http.MethodGet, "/v1/packages/{id}", "get-package",
		"What is known of one package", roleGateway, roleDevice), s.getPackage)
	content := operation(a, http.MethodGet, "/v1/packages/{id}/content", "get-package-content",
		"A package's bytes: Range and If-Range (RFC 9110), Repr-Digest (RFC 9530)", roleGateway, roleDevice)
	bytes := map[string]*huma.MediaType{"application/octet-stream": {}}
	content.Responses["200"] = &huma.Response{Description: "All bytes", Content: bytes}
	content.Responses["206"] = &huma.Response{Description: "The range asked for", Content: bytes}
	content.Responses["304"] = &huma.Response{Description: "The caller has them"}
	huma.Register(a, content, s.getContent)
}

func (s *Server) listPackages(_ context.Context, in *struct {
	Conditional
	Paging
	Model string `query:"model" maxLength:"128" doc:"Only packages for this model"`
}) (*read[api.Page[api.Package]], error) {
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	all, err := s.Folder.Packages()
	if err != nil {
		return nil, internal(err)
	}
	if after != "" {
		at := slices.IndexFunc(all, func(p api.Package) bool { return p.PackageID == after })
		if at < 0 {
			return nil, refuse(http.StatusBadRequest, ReasonCursor, "the cursor is not one of this list's; start again without one")
		}
		all = all[at+1:]
	}
	list := api.Page[api.Package]{Items: []api.Package{}}
	for _, p := range all {
		if in.Model != "" && p.Model != in.Model {
			continue
		}
		if len(list.Items) == in.Limit {
			list.NextCursor = cursor(list.Items[in.Limit-1].PackageID)
			break
		}
		list.Items = append(list.Items, p)
	}
	return listAnswer(in.Conditional, list)
}

func (s *Server) packageOr404(id string) (api.Package, error) {
	p, err := s.Folder.Package(id)
	if errors.Is(err, provision.ErrNotFound) {
		return p, refuse(http.StatusNotFound, ReasonNoPackage, "this region has no such package")
	}
	if err != nil {
		return p, internal(err)
	}
	return p, nil
}

func (s *Server) getPackage(_ context.Context, in *struct {
	PackagePath
	Conditional
}) (*read[api.Package], error) {
	p, err := s.packageOr404(in.Package)
	if err != nil {
		return nil, err
	}
	tag := packageTag(p)
	return &read[api.Package]{Status: in.answer(tag), ETag: tag, Body: p}, nil
}

// packageTag is the same for a package and its bytes: neither ever changes.
func packageTag(p api.Package) string { return `"` + p.SHA256 + `"` }

func (s *Server) getContent(_ context.Context, in *struct{ PackagePath }) (*huma.StreamResponse, error) {
	p, err := s.packageOr404(in.Package)
	if err != nil {
		return nil, err
	}
	sum, err := hex.DecodeString(p.SHA256)
	if err != nil {
		return nil, internal(err)
	}
	file, err := s.Folder.OpenContent(p)
	if err != nil {
		return nil, internal(err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer file.Close()
		r, w := humago.Unwrap(ctx)
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("ETag", packageTag(p))
		h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
		h.Set("Cache-Control", "private, immutable, max-age=31536000")
		http.ServeContent(&rangeProblem{ResponseWriter: w, r: r}, r, "", p.CreatedAt, file)
	}}, nil
}

// rangeProblem turns the plain text of http.ServeContent's errors into a problem.
type rangeProblem struct {
	http.ResponseWriter
	r       *http.Request
	replied bool
}

func (w *rangeProblem) WriteHeader(status int) {
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		w.fail(refuse(status, ReasonRange, "no byte of the range is in the package; Content-Range has its size"))
	case http.StatusPreconditionFailed:
		w.fail(refuse(status, ReasonPrecondition, "the package is another than the condition names"))
	case http.StatusInternalServerError:
		w.fail(internal(errors.New("read package content")))
	default:
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *rangeProblem) fail(p *problem) {
	w.Header().Del("Content-Length")
	w.replied = true
	writeProblem(w.ResponseWriter, w.r, p)
}

func (w *rangeProblem) Write(b []byte) (int, error) {
	if w.replied {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}
