package route

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// A CountryDB knows the countries of addresses.
type CountryDB struct{ reader *maxminddb.Reader }

// NewCountryDB reads a database in MaxMind's format, which it owns. It takes those
// that say country.iso_code, as MaxMind's and DB-IP's, and those that say
// country_code, as ip-location-db's.
func NewCountryDB(data []byte) (*CountryDB, error) {
	r, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, fmt.Errorf("not a country database (mmdb): %w", err)
	}
	db := &CountryDB{r}
	// An address that every such database knows, to tell it from one of other things.
	if db.Country(netip.AddrFrom4([4]byte{8, 8, 8, 8})) == "" {
		return nil, fmt.Errorf("the database %q has neither country.iso_code nor country_code", r.Metadata.DatabaseType)
	}
	return db, nil
}

// Country returns the ISO 3166-1 code of the country that a is in, or "" if that is
// not known.
func (db *CountryDB) Country(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	var code string
	found := db.reader.Lookup(a)
	if err := found.DecodePath(&code, "country", "iso_code"); err != nil || code == "" {
		if err := found.DecodePath(&code, "country_code"); err != nil {
			return ""
		}
	}
	return strings.ToUpper(code)
}

// Countries is a set of countries.
type Countries struct {
	DB    *CountryDB
	Codes []string // of ISO 3166-1, two letters in upper case
}

func (c *Countries) has(a netip.Addr) bool {
	code := c.DB.Country(a)
	return code != "" && slices.Contains(c.Codes, code)
}
