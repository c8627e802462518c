package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Cluster names the NATS servers with the state that several machines share.
type Cluster struct {
	NATS            []string      `koanf:"nats" restart:"true" example:"tls://n1.example:4222, tls://n2.example:4222, tls://n3.example:4222" doc:"The addresses of the NATS servers: nats:// or tls://, then the host name or IP address, and the port unless it is 4222. Default: the state is in the state directory."`
	CredentialsFile string        `koanf:"credentials_file" file:"true" restart:"true" doc:"A file with the JWT and the nkey of the user at NATS, as nsc writes it. It is read again for each connection."`
	Username        string        `koanf:"username" restart:"true" doc:"The user name at NATS, instead of a file with credentials."`
	Password        Secret        `koanf:"password" restart:"true" doc:"The password at NATS."`
	CAFile          string        `koanf:"ca_file" file:"true" restart:"true" doc:"The CA certificates (PEM) that the servers' certificates are verified with. Default: those of the system."`
	CertFile        string        `koanf:"cert_file" file:"true" restart:"true" doc:"The client certificate (PEM)."`
	KeyFile         string        `koanf:"key_file" file:"true" restart:"true" doc:"The key (PEM) of the client certificate."`
	Bucket          string        `koanf:"bucket" restart:"true" doc:"The name of the JetStream key-value bucket: one for each configuration."`
	Replicas        int           `koanf:"replicas" min:"0" max:"5" restart:"true" doc:"The number of servers that hold the bucket when it is created. 0: three if the servers form a cluster, otherwise one."`
	Shards          int           `koanf:"shards" min:"1" max:"64" restart:"true" doc:"The number of parts that the accounts are divided into, so that several machines work at the same time. It is fixed for a bucket. 1: one machine works, the others stand by."`
	Lease           time.Duration `koanf:"lease" min:"2s" max:"5m" restart:"true" doc:"How long another machine waits after the last sign of life before it takes over. Without an answer of NATS a machine stops after 80 % of it."`
}

var streamName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// IsConfigured reports whether the state is in a cluster.
func (c *Cluster) IsConfigured() bool { return len(c.NATS) > 0 }

// Validate implements schema.Validator.
func (c *Cluster) Validate() error {
	var errs []error
	secure := true
	for i, address := range c.NATS {
		at := fmt.Sprintf("nats[%d]", i)
		if first := slices.Index(c.NATS, address); first < i {
			errs = append(errs, At(at, fmt.Errorf("want each server once: nats[%d] is the same", first)))
			continue
		}
		encrypted, err := checkNATS(address)
		errs = append(errs, At(at, err))
		secure = secure && (err != nil || encrypted)
	}
	if !c.IsConfigured() && (c.NATS != nil || c.Shards > 1 || cmp.Or(c.CredentialsFile, c.Username, c.Password.Reveal(), c.CAFile, c.CertFile, c.KeyFile) != "") {
		errs = append(errs, At("nats", errors.New("is required with the other keys of cluster, for example [nats://192.168.1.20:4222]")))
	}
	switch {
	case c.CredentialsFile != "" && c.Username != "":
		errs = append(errs, At("username", errors.New("given together with credentials_file: only one of them can be right")))
	case c.Password != "" && c.Username == "":
		errs = append(errs, At("username", errors.New("is required with password")))
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		errs = append(errs, At("cert_file", errors.New("want both cert_file and key_file")))
	}
	if c.IsConfigured() && !secure && cmp.Or(c.CAFile, c.CertFile) != "" {
		errs = append(errs, At("nats", errors.New("want tls:// in every address: certificates are given, but a connection is not encrypted")))
	}
	if !streamName.MatchString(c.Bucket) {
		errs = append(errs, At("bucket", fmt.Errorf("want a name of up to 64 letters, digits, - and _, not %q", c.Bucket)))
	}
	return errors.Join(errs...)
}

// checkNATS validates the address of a server. It never repeats an address that may have a password in it.
func checkNATS(address string) (secure bool, err error) {
	wrong := func(shown string) error {
		return wrongServer("want "+anyNATS+" or tls://HOST:PORT", address, shown, serverURL(address, "", "nats", "tls", anyNATS), anyNATS)
	}
	if lacksBrackets(address) {
		return false, wrong(": an IPv6 address needs brackets")
	}
	u, err := url.Parse(address)
	switch {
	case err != nil, strings.Contains(address, "@") && !strings.Contains(address, "://"):
		return false, wrong("")
	case u.User != nil:
		return false, errors.New("want an address without user and password; use cluster.username and cluster.password, or cluster.credentials_file")
	case u.Scheme != "nats" && u.Scheme != "tls", u.Hostname() == "", u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return false, wrong(fmt.Sprintf(", not %q", address))
	}
	return u.Scheme == "tls", checkPort(u)
}

// checkFiles validates the files of the connection to the cluster.
func (c *Cluster) checkFiles() error {
	var errs []error
	if c.CredentialsFile != "" {
		_, err := ReadPEM(c.CredentialsFile)
		errs = append(errs, At("credentials_file", err))
	}
	if c.CAFile != "" {
		_, err := ReadCertPool(c.CAFile)
		errs = append(errs, At("ca_file", err))
	}
	if c.CertFile != "" && c.KeyFile != "" {
		_, err := ReadClientCertificate(c.CertFile, c.KeyFile)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ShardOf returns the shard of an account. It depends on the id only, so it never changes.
func (c *Cluster) ShardOf(account string) int {
	sum := sha256.Sum256([]byte(account))
	return int(binary.BigEndian.Uint64(sum[:]) % uint64(max(1, c.Shards)))
}

// Shard returns the configuration of a bridge that has only the accounts of one shard.
func (c *Config) Shard(shard int) *Config {
	if c.Cluster.Shards <= 1 {
		return c
	}
	isOther := func(account string) bool { return c.Cluster.ShardOf(account) != shard }
	part := *c
	part.Accounts, part.Organizations, part.AccountFiles = maps.Clone(c.Accounts), maps.Clone(c.Organizations), maps.Clone(c.AccountFiles)
	maps.DeleteFunc(part.Accounts, func(id string, _ *Account) bool { return isOther(id) })
	maps.DeleteFunc(part.Organizations, func(id string, _ *Organization) bool { return isOther(id) })
	maps.DeleteFunc(part.AccountFiles, func(id, _ string) bool { return isOther(id) })
	part.RefusedFiles = slices.DeleteFunc(slices.Clone(c.RefusedFiles), func(f RefusedFile) bool { return isOther(f.Account) })
	part.HTTP, part.Digests = HTTP{}, maps.Clone(c.Digests) // the process has the listener
	delete(part.Digests, "http")
	if part.Audit.File != "" { // two bridges must not rename the same file
		extension := filepath.Ext(part.Audit.File)
		part.Audit.File = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(part.Audit.File, extension), shard, extension)
	}
	return &part
}
