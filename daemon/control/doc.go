// Package control is the gateway's HTTP API (OpenAPI 3.1, under /api/v1): what the command line, the portal and an
// administrator's scripts read and do.
//
// It translates between HTTP and the interface Gateway, which daemon implements and the portal calls too, and keeps
// nothing. On the unix socket whoever may open it and runs as root, as the daemon's user or in its group is served; on the
// portal's port only who has logged in. Lists are {"items": [...]}; errors are RFC 9457 problems.
package control
