// Command holdfast keeps the APIs of an OpenStack cloud answering.
package main

import (
	"context"
	"os"

	"holdfast/internal/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
