package firehosetest

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// No token is stored: nothing that an origin or a Watcher reaches holds one.
func TestNoTokenIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const token = "ghp_doNotKeepMeAnywhere"
		o := mustOrigin(t, Config{Timelines: 2})
		w := Watch(o.RoundTripper())
		c := newPolite(w, o.Paths()...)
		c.token, c.pages = token, true
		require.NoError(t, o.Script(path0, Step{Kind: Redirect}))
		for _, p := range o.Paths() {
			require.NoError(t, c.poll(t.Context(), p).err)
		}
		var out bytes.Buffer
		dump(&out, reflect.ValueOf(o.oracle), map[uintptr]bool{})
		dump(&out, reflect.ValueOf(w.oracle), map[uintptr]bool{})
		dump(&out, reflect.ValueOf(o.timelines), map[uintptr]bool{})
		require.Contains(t, out.String(), "api.test")
		require.Contains(t, out.String(), path0)
		require.NotContains(t, out.String(), token)
		require.NotContains(t, fmt.Sprintf("%+v", o.Verdict()), token)
	})
}

// dump writes all strings and byte arrays within a value.
func dump(out *bytes.Buffer, v reflect.Value, seen map[uintptr]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || seen[v.Pointer()] {
			return
		}
		seen[v.Pointer()] = true
		dump(out, v.Elem(), seen)
	case reflect.Interface:
		dump(out, v.Elem(), seen)
	case reflect.Struct:
		for _, field := range v.Fields() {
			dump(out, field, seen)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			dump(out, it.Key(), seen)
			dump(out, it.Value(), seen)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			for i := range v.Len() {
				out.WriteByte(byte(v.Index(i).Uint()))
			}
			return
		}
		for i := range v.Len() {
			dump(out, v.Index(i), seen)
		}
	case reflect.String:
		fmt.Fprintln(out, v.String())
	}
}
