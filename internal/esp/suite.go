package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	headerLen  = 8 // SPI and sequence number
	trailerLen = 2 // pad length and next header
	icvLen     = 16
)

// suite is an algorithm with its keys. Its methods may be called by several
// goroutines.
type suite interface {
	// ivLen is the length of the initialization vector, and align what the length
	// of the plaintext must be a multiple of, trailer included.
	ivLen() int
	align() int
	// seal encrypts the plaintext that begins at text in packet, which begins with
	// the ESP header and holds the initialization vector, and appends the integrity
	// check value. There is room for it.
	seal(packet []byte, text int) []byte
	// open verifies a packet and appends its plaintext. Its error is ErrIntegrity.
	open(b, packet []byte, text int) ([]byte, error)
}

// newSuite makes the suite of an association that was checked.
func newSuite(a Association) (suite, error) {
	key := []byte(a.Key)
	switch a.Algorithm {
	case AESCBCSHA256:
		at := len(key) - hmacKeyLen
		block, err := aes.NewCipher(key[:at])
		if err != nil {
			return nil, err
		}
		return cbcSuite{block, key[at:]}, nil
	case AESGCM:
		at := len(key) - saltLen
		block, err := aes.NewCipher(key[:at])
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		return gcmSuite{aead, [saltLen]byte(key[at:])}, nil
	default:
		return nil, fmt.Errorf("%w: %v", ErrInvalid, a.Algorithm)
	}
}

// gcmSuite is AES-GCM with a tag of 16 octets (RFC 4106).
type gcmSuite struct {
	aead cipher.AEAD
	salt [saltLen]byte
}

func (gcmSuite) ivLen() int { return 8 }
func (gcmSuite) align() int { return 4 } // RFC 4303 §2.4

// nonce is salt and initialization vector (RFC 4106 §4).
func (s gcmSuite) nonce(packet []byte) []byte {
	var nonce [12]byte
	copy(nonce[:], s.salt[:])
	copy(nonce[saltLen:], packet[headerLen:])
	return nonce[:]
}

func (s gcmSuite) seal(packet []byte, text int) []byte {
	// What is authenticated besides is SPI and sequence number (RFC 4106 §5).
	return s.aead.Seal(packet[:text], s.nonce(packet), packet[text:], packet[:headerLen])
}

func (s gcmSuite) open(b, packet []byte, text int) ([]byte, error) {
	out, err := s.aead.Open(b, s.nonce(packet), packet[text:], packet[:headerLen])
	if err != nil {
		return b, ErrIntegrity
	}
	return out, nil
}

// cbcSuite is AES-CBC with HMAC-SHA-256-128, encryption first (RFC 3602,
// RFC 4868, RFC 4303 §3.3.2.1).
type cbcSuite struct {
	block cipher.Block
	key   []byte // of HMAC
}

func (cbcSuite) ivLen() int { return aes.BlockSize }
func (cbcSuite) align() int { return aes.BlockSize }

// icv is the first half of the HMAC over everything before it (RFC 4868 §2.3).
func (s cbcSuite) icv(packet []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write(packet)
	return h.Sum(nil)[:icvLen]
}

func (s cbcSuite) seal(packet []byte, text int) []byte {
	cipher.NewCBCEncrypter(s.block, packet[headerLen:text]).CryptBlocks(packet[text:], packet[text:])
	return append(packet, s.icv(packet)...)
}

func (s cbcSuite) open(b, packet []byte, text int) ([]byte, error) {
	end := len(packet) - icvLen
	if !hmac.Equal(packet[end:], s.icv(packet[:end])) {
		return b, ErrIntegrity
	}
	start := len(b)
	b = append(b, packet[text:end]...)
	cipher.NewCBCDecrypter(s.block, packet[headerLen:text]).CryptBlocks(b[start:], b[start:])
	return b, nil
}

// spiOf and sequenceOf read the ESP header (RFC 4303 §2).
func spiOf(packet []byte) uint32      { return binary.BigEndian.Uint32(packet) }
func sequenceOf(packet []byte) uint32 { return binary.BigEndian.Uint32(packet[4:]) }
