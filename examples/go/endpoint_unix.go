//go:build !windows

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// endpoint tells where the daemon listens: the option, else SKYLINEDB_SOCKET, else the platform's place.
func endpoint(option string) (string, error) {
	if option == "" {
		option = os.Getenv("SKYLINEDB_SOCKET")
	}
	if option != "" {
		return filepath.Abs(option)
	}
	if folder := os.Getenv("XDG_RUNTIME_DIR"); folder != "" {
		return filepath.Join(folder, "skylinedb", "v1.sock"), nil
	}
	return fmt.Sprintf("/tmp/skylinedb-%d/v1.sock", os.Getuid()), nil
}

// open connects to the socket, after checking that nobody else can have put it there.
func open(path string) (io.ReadWriteCloser, error) {
	folder := filepath.Dir(path)
	info, err := os.Lstat(folder)
	if err != nil {
		return nil, err
	}
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	if !info.IsDir() || owner != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s must be a folder of yours with mode 0700, and no symbolic link", folder)
	}
	return net.Dial("unix", path)
}
