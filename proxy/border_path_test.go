package proxy_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy"
	"github.com/mfpgate/mfpgate/proxy/account"
	"github.com/mfpgate/mfpgate/proxy/devicename"
	"github.com/mfpgate/mfpgate/telemetry"
)

// An upstream proxy is asked for the host that the device is led to, by every way.
func TestAnUpstreamIsAskedForTheTarget(t *testing.T) {
	var asked []string
	log := &journal{}
	w := newWorld(t, func(o *proxy.Options, p *proxy.Policy) {
		outer := *p
		outer.Allow = slices.Clone(p.Allow)
		outer.Allow[0].AnySNI = true // it is asked for the target, and the client goes on to name the old host
		_, at := start(t, proxy.Options{Name: "outer", Clock: mfpgate.SystemClock{}, Metrics: telemetry.NewMetrics(), Devices: anybody{}, Descriptors: 4096,
			Log: telemetry.NewLogger(log, mfpgate.SystemClock{}, &telemetry.Level{}, false)}, &outer)
		p.Upstream = &proxy.Upstream{URL: &url.URL{Scheme: "http", Host: at}}
	})
	w.atlas.set(map[string]mfpgate.Route{w.us.name + " connect": {Action: mfpgate.RouteForward, To: w.jp.secure()},
		w.us.name: {Action: mfpgate.RouteForward, To: w.jp.insecure()}})
	client := w.client(t)
	for _, to := range []string{"https://" + w.us.secure(), "http://" + w.us.insecure()} {
		resp, err := client.Get(to)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		asked = append(asked, string(b))
	}
	// Over TLS the Host is sealed; in plain the upstream proxy writes that of the target (RFC 9112 §3.2.2).
	if !strings.HasPrefix(asked[0], "jp got GET / for us.cloud.test") || !strings.HasPrefix(asked[1], "jp got GET / for jp.cloud.test") {
		t.Errorf("the origins answer %q", asked)
	}
	client.CloseIdleConnections()
	for _, to := range []string{w.jp.secure(), w.jp.insecure()} {
		wait(t, "the upstream was asked for "+to, func() bool { return strings.Contains(log.String(), fmt.Sprintf(`"destination":%q`, to)) })
	}
	if strings.Contains(log.String(), w.us.name) {
		t.Errorf("the upstream heard of the old region:\n%s", log.String())
	}
}

// A device behind an inner gateway is led by the id that this gateway's registry has for it.
func TestInnerDevicesHaveRoutesOfTheirOwn(t *testing.T) {
	const key = mfpgate.Secret("between the gateways")
	w := newWorld(t, func(o *proxy.Options, p *proxy.Policy) {
		path := filepath.Join(t.TempDir(), "accounts")
		hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("inner:"+string(hash)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		accounts, err := account.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		p.Accounts, p.Gateways = accounts, map[string]mfpgate.Secret{"inner": key}
		o.Devices = byAccount{}
		o.Routes = movedInner{}
	})
	ask := func(device mfpgate.DeviceID) (status string) {
		_, resp := w.connect(t, "127.0.0.2", w.us.insecure(),
			"Proxy-Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("inner:secret"))+"\r\n",
			devicename.Header+": "+devicename.Sign(mfpgate.SystemClock{}, key, "inner", http.MethodConnect, w.us.insecure(), device)+"\r\n")
		return resp.Status + " " + resp.Header.Get("Proxy-Status")
	}
	if got := ask("dev_moved"); !strings.HasPrefix(got, "403") || !strings.Contains(got, `"region-moved"`) {
		t.Errorf("the device that was moved: %s", got)
	}
	if got := ask("dev_other"); !strings.HasPrefix(got, "200") {
		t.Errorf("another behind the same gateway: %s", got)
	}
}

// byAccount is a registry that gives what an inner gateway names an id of its own.
type byAccount struct{}

func (byAccount) Identify(_ netip.Addr, account string) (mfpgate.DeviceID, string, bool) {
	return mfpgate.DeviceID("outer_" + account[strings.LastIndexByte(account, '/')+1:]), account, true
}

type movedInner struct{}

func (movedInner) Route(device mfpgate.DeviceID, _ mfpgate.Host, _ uint16, _ bool) mfpgate.Route {
	if device == "outer_dev_moved" {
		return mfpgate.Route{Action: mfpgate.RouteBlock, Region: "us", Epoch: 1}
	}
	return mfpgate.Route{}
}

// Addresses of a target are judged by the target's own rule, and by that of the asked host where it has none.
func TestTheGuardOfAForwardedConnection(t *testing.T) {
	for _, tt := range []struct {
		rule       string
		asked, own *bool // whether that rule lets a private address be reached; nil: there is no such rule
		want       string
	}{
		{"the asked host's rule, where the target has none", yes(true), nil, "200"},
		{"the asked host's rule forbids", yes(false), nil, "address-loopback"},
		{"the target's own rule allows", yes(false), yes(true), "200"},
		{"the target's own rule forbids", yes(true), yes(false), "address-loopback"},
		{"without a rule for the asked host nothing goes", nil, yes(true), "destination-not-allowed"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			w := newWorld(t, func(_ *proxy.Options, p *proxy.Policy) {
				ports := p.Allow[0].Ports
				p.Allow = nil
				for host, private := range map[string]*bool{"us.cloud.test": tt.asked, "jp.cloud.test": tt.own} {
					pattern, err := mfpgate.ParseHostPattern(host)
					if err != nil {
						t.Fatal(err)
					}
					if private != nil {
						p.Allow = append(p.Allow, mfpgate.AllowRule{Host: pattern, Ports: ports, Private: *private})
					}
				}
			})
			w.atlas.set(map[string]mfpgate.Route{w.us.name: {Action: mfpgate.RouteForward, To: w.jp.insecure()}})
			_, resp := w.connect(t, "127.0.0.2", w.us.insecure())
			if got := resp.Status + resp.Header.Get("Proxy-Status"); !strings.Contains(got, tt.want) {
				t.Errorf("CONNECT: %s, want %s", got, tt.want)
			}
			plain, err := w.client(t).Get("http://" + w.us.insecure())
			if err != nil {
				t.Fatal(err)
			}
			_ = plain.Body.Close()
			if got := plain.Status + plain.Header.Get("Proxy-Status"); !strings.Contains(got, tt.want) {
				t.Errorf("plain: %s, want %s", got, tt.want)
			}
		})
	}
}

func yes(b bool) *bool { return &b }
