package admin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"holdfast/internal/catalog"
)

const (
	// maxClouds bounds the size in bytes of a clouds.yaml.
	maxClouds = 1 << 20
	// maxMerges bounds how deep merge keys may refer to each other.
	maxMerges = 8
)

// A cloud is the settings of one cloud: those of its "auth" part and the
// others, by their names with underscores.
type cloud struct {
	auth, top map[string]string
}

// get gives a setting, wherever it stands: what belongs into "auth" is often
// written beside it.
func (c cloud) get(key string) string {
	if v := c.auth[key]; v != "" {
		return v
	}
	return c.top[key]
}

// over gives the settings of c, and those of base that c does not have.
func (c cloud) over(base cloud) cloud {
	out := cloud{auth: map[string]string{}, top: map[string]string{}}
	for _, layer := range []cloud{base, c} {
		maps.Copy(out.auth, layer.auth)
		maps.Copy(out.top, layer.top)
	}
	return out
}

// parseClouds reads a clouds.yaml, secure.yaml or clouds-public.yaml, whose
// clouds are under key. Its errors say where, and never what stands there: it
// may be a password.
func parseClouds(name string, data []byte, key string) (map[string]cloud, error) {
	if len(data) > maxClouds {
		return nil, fmt.Errorf("%s: %d bytes are more than a clouds.yaml has", name, len(data))
	}
	var doc yaml.Node
	if err := decodeNode(data, &doc); err != nil {
		if errors.Is(err, io.EOF) {
			return map[string]cloud{}, nil
		}
		return nil, fmt.Errorf("%s%s: it is no valid YAML; a password with special characters stands in single quotes", name, yamlLine(err))
	}
	root := &doc
	if root.Kind == yaml.DocumentNode && len(root.Content) > 0 {
		root = root.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return map[string]cloud{}, nil
	}
	list := child(root, key)
	if list == nil || list.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: it has no mapping %q", name, key)
	}
	out := map[string]cloud{}
	for i := 0; i+1 < len(list.Content); i += 2 {
		value := resolved(list.Content[i+1])
		if value.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("%s:%d: the cloud %q is no mapping", name, list.Content[i].Line, list.Content[i].Value)
		}
		out[list.Content[i].Value] = cloud{auth: scalars(child(value, "auth"), 0), top: scalars(value, 0)}
	}
	return out, nil
}

// decodeNode decodes the first document of data without giving its values types.
func decodeNode(data []byte, doc *yaml.Node) error {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return loader.Load(doc)
}

// yamlLine gives ":LINE" of err, if it has one. The text of err is not used: it
// may quote the file.
func yamlLine(err error) string {
	if one, ok := errors.AsType[*yaml.LoadError](err); ok && one.Mark.Line > 0 {
		return fmt.Sprintf(":%d", one.Mark.Line)
	}
	return ""
}

// child gives the value of key in mapping; nil if there is none.
func child(mapping *yaml.Node, key string) *yaml.Node {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return resolved(mapping.Content[i+1])
		}
	}
	return nil
}

// resolved gives the node that n is an alias of, or n.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// scalars gives the values of mapping that are scalars, as they are written, so
// that a password of digits stays what it is.
//
// Depth counts the merge keys ("<<") on the way here: one may lead to itself.
func scalars(mapping *yaml.Node, depth int) map[string]string {
	out := map[string]string{}
	if mapping == nil || mapping.Kind != yaml.MappingNode || depth > maxMerges {
		return out
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], resolved(mapping.Content[i+1])
		if key.Value == "<<" && value.Kind == yaml.MappingNode {
			for k, v := range scalars(value, depth+1) {
				if _, has := out[k]; !has {
					out[k] = v
				}
			}
			continue
		}
		if value.Kind == yaml.ScalarNode && value.Tag != "!!null" {
			out[strings.ReplaceAll(key.Value, "-", "_")] = value.Value
		}
	}
	return out
}

// noCloud says that there is no cloud called name in the file, and which there are.
func noCloud(name, file string, clouds map[string]cloud) error {
	names := slices.Sorted(maps.Keys(clouds))
	if len(names) == 0 {
		return fmt.Errorf("there is no cloud %q in %s, which has none at all", name, file)
	}
	text := fmt.Sprintf("there is no cloud %q in %s; it has %s", name, file, strings.Join(names, ", "))
	if near, ok := catalog.Nearest(name, names); ok {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return errors.New(text)
}
