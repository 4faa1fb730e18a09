// Package approval registers devices in print services with an administrator's approval.
package approval
