package main

import (
	"io"
	"os"
	"strings"
)

// endpoint tells where the daemon listens: the option, else SKYLINEDB_SOCKET, else the usual pipe.
func endpoint(option string) (string, error) {
	const pipe = `\\.\pipe\`
	if option == "" {
		option = os.Getenv("SKYLINEDB_SOCKET")
	}
	if option == "" {
		return pipe + "SkylineDBd-v1", nil
	}
	if strings.HasPrefix(option, pipe) {
		return option, nil
	}
	dashes := strings.NewReplacer(`\`, "-", "/", "-", ":", "-")
	return pipe + dashes.Replace(strings.TrimLeft(option, `\/`)), nil
}

// open opens the named pipe: a file that can be read and written.
func open(path string) (io.ReadWriteCloser, error) {
	return os.OpenFile(path, os.O_RDWR, 0)
}
