package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate/cloud/server/provision"
)

func packageCommand() *cobra.Command {
	return group("package", "The software that devices install", packageAdd(), packageGenerate())
}

func packageAdd() *cobra.Command {
	add := &cobra.Command{Use: "add --state DIR --model M --version V FILE", Short: "Keep a file as a package and print its id", Args: cobra.ExactArgs(1)}
	return packaged(add, func(args []string, _, _ string) (io.ReadCloser, error) { return os.Open(args[0]) })
}

func packageGenerate() *cobra.Command {
	generate := &cobra.Command{
		Use: "generate --state DIR --model M --version V --size 20MB", Args: cobra.NoArgs,
		Short: "Make a package of bytes that depend on model and version alone, and print its id",
	}
	size := generate.Flags().String("size", "20MB", "bytes, or with a unit: kB, MB, GB, KiB, MiB, GiB")
	return packaged(generate, func(_ []string, model, version string) (io.ReadCloser, error) {
		n, err := parseSize(*size)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(provision.Generated(model, version, n)), nil
	})
}

func packaged(c *cobra.Command, open func(args []string, model, version string) (io.ReadCloser, error)) *cobra.Command {
	model := c.Flags().String("model", "", "the devices' model")
	version := c.Flags().String("version", "", "the software's version")
	must(c.MarkFlagRequired("model"))
	must(c.MarkFlagRequired("version"))
	return onFolder(c, func(c *cobra.Command, f *provision.Folder, args []string) error {
		r, err := open(args, *model, *version)
		if err != nil {
			return err
		}
		defer r.Close()
		p, err := f.AddPackage(*model, *version, r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), p.PackageID)
		return err
	})
}

// maxPackage keeps a slip of the pen from filling the disk.
const maxPackage = 64 << 30

// parseSize reads 20MB (decimal) and 20MiB (binary).
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "kKMGiB")
	unit, ok := map[string]int64{
		"": 1, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	}[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !ok || n < 1 || n > maxPackage/unit {
		return 0, fmt.Errorf("size %q: must be 1 B to 64 GiB, such as 20MB", s)
	}
	return n * unit, nil
}
