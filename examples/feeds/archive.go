package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"strings"

	"github.com/cannedos/cannedos/resource"
)

// archive is a sink that keeps each edition of a feed as a file of its own.
type archive struct {
	root   *os.Root // nothing outside the folder can be written
	stdout io.Writer
}

func openArchive(folder string, stdout io.Writer) (*archive, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	return &archive{root: root, stdout: stdout}, nil
}

func (a *archive) close() error { return a.root.Close() }

// Take returns nil when the edition is safe on disk: only then does the canned
// OS store its validators and stop asking for it. The same edition may be
// offered again after a crash; it then replaces itself.
func (a *archive) Take(_ context.Context, r *resource.Response) error {
	if r.Outcome == resource.Retired {
		fmt.Fprintln(a.stdout, "gone for good:", r.Resource.URI)
		return nil
	}
	name := fileName(r)
	if err := a.write(name+".part", r.Body); err != nil {
		return err
	}
	if err := a.root.Rename(name+".part", name); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "new: %s: %d bytes in %s\n", r.Resource.URI, len(r.Body), name)
	return nil
}

func (a *archive) write(name string, body []byte) error {
	file, err := a.root.Create(name)
	if err != nil {
		return err
	}
	_, err = file.Write(body)
	return errors.Join(err, file.Sync(), file.Close())
}

// fileName is made of what we know ourselves: the id of the resource and the
// instant of the answer. Nothing that an origin sends becomes part of it, but
// that it chooses one of three endings.
func fileName(r *resource.Response) string {
	ending := "raw"
	switch mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case strings.HasSuffix(mediaType, "xml"):
		ending = "xml"
	case strings.HasSuffix(mediaType, "json"):
		ending = "json"
	}
	return fmt.Sprintf("%v-%s.%s", r.Resource.ID, r.Received.UTC().Format("20060102T150405.000000000Z"), ending)
}
