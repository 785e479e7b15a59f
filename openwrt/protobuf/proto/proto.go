// Package proto has the functions of its namesake that make pointers of values.
package proto

// String returns a pointer to a copy of v.
func String(v string) *string { return &v }

// Int32 returns a pointer to a copy of v.
func Int32(v int32) *int32 { return &v }

// Uint32 returns a pointer to a copy of v.
func Uint32(v uint32) *uint32 { return &v }
