package servers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// artifact is a published jar; what it needs is found by Maven.
type artifact struct {
	name, version string
	dependencies  []string // group:artifact:version
}

// copier is pinned: the version that Maven would pick depends on its own.
const copier = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

// jars returns the folder that holds the jars, fetched if they are not there.
func (a artifact) jars(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("servers: a folder for jars: %w", err)
	}
	parent := filepath.Join(cache, "cannedos", "servers")
	dir := filepath.Join(parent, a.name+"-"+a.version)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(parent, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), []byte(a.pom()), 0o600); err != nil {
		return "", err
	}
	fetched := filepath.Join(work, "jars")
	cmd := exec.CommandContext(ctx, "mvn", "-q", "-B", copier, "-DincludeScope=runtime", "-DoutputDirectory="+fetched)
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("servers: fetch %s %s: %w\n%s", a.name, a.version, err, out)
	}
	// Two may fetch at the same time: either's jars will do.
	if err := os.Rename(fetched, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Stat(dir); there != nil {
			return "", err
		}
	}
	return dir, nil
}

func (a artifact) pom() string {
	var b strings.Builder
	b.WriteString(`<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>` +
		`<groupId>cannedos</groupId><artifactId>servers</artifactId><version>1</version><packaging>pom</packaging><dependencies>`)
	for _, d := range a.dependencies {
		part := strings.Split(d, ":")
		fmt.Fprintf(&b, "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>", part[0], part[1], part[2])
	}
	b.WriteString("</dependencies></project>\n")
	return b.String()
}
