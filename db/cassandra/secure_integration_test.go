//go:build integration

package cassandra_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/cassandra"
)

// keystore holds the key of a node.
type keystore struct {
	path string
	pem  []byte // its certificate, which it signed itself
}

const keystorePassword = "just for a test"

func makeKeystore(t testing.TB) keystore {
	path := filepath.Join(t.TempDir(), "keys.p12")
	keytool := func(args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), "keytool", append(args,
			"-keystore", path, "-storetype", "PKCS12", "-storepass", keystorePassword, "-alias", "node")...)
		out, err := cmd.Output()
		require.NoError(t, err, "%s", out)
		return out
	}
	keytool("-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "2", "-dname", "CN=node", "-ext", "SAN=ip:127.0.0.1")
	return keystore{path, keytool("-exportcert", "-rfc")}
}

// options let clients use TLS or not, as they like.
func (k keystore) options() string {
	return fmt.Sprintf("{enabled: true, optional: true, store_type: PKCS12, keystore: %s, keystore_password: %s}", k.path, keystorePassword)
}

// logged is a log to look into.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func testPassword(t *testing.T, c cassandra.Config) {
	openStore(t, c)
	var log logged
	c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, wrong := range []struct {
		user, password, says string
	}{
		{"cassandra", "not the pass" + "word", "Provided username cassandra and/or password are incorrect"},
		{"", "", "authentication required"},
	} {
		c.Username, c.Password = wrong.user, cassandra.Secret(wrong.password)
		_, err := cassandra.Open(t.Context(), c)
		require.ErrorContains(t, err, "cassandra: open: ")
		require.ErrorContains(t, err, wrong.says)
		if wrong.password != "" {
			require.NotContains(t, err.Error(), wrong.password)
			require.NotContains(t, log.String(), wrong.password)
		}
	}
	require.NotEmpty(t, log.String())
}

func testTLS(t *testing.T, c cassandra.Config, k keystore) {
	trusted := x509.NewCertPool()
	require.True(t, trusted.AppendCertsFromPEM(k.pem))
	c.TLS = &tls.Config{RootCAs: trusted}
	store := openStore(t, c)
	_, err := store.Write(t.Context(), db.Write{Record: db.Record{Space: "s", ID: "a", Version: 1}})
	require.NoError(t, err)

	for says, config := range map[string]*tls.Config{
		"certificate signed by unknown authority": {RootCAs: x509.NewCertPool()},
		"certificate is ":                         {RootCAs: trusted, ServerName: "another.example"},
	} {
		c.TLS = config
		_, err := cassandra.Open(t.Context(), c)
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "Password")
	}
}
