package node

import "strings"

// Masked stands for a secret in every answer, and for "leave the secret as it is" in a write.
const Masked = "******"

// SecretKey reports whether the value under key in driver_info, instance_info or an agent's data is a secret. Keys that contain "password",
// "secret" or "token", SNMP keys, an IPMI BMC key and private keys are.
func SecretKey(key string) bool {
	k := strings.ToLower(key)
	switch k {
	case "snmp_auth_key", "snmp_priv_key", "ipmi_hex_kg_key", "configdrive", "image_url", "private_key":
		return true
	}
	for _, part := range [...]string{"password", "passwd", "secret", "token", "credential", "private_key"} {
		if strings.Contains(k, part) {
			return true
		}
	}
	return false
}

// SplitSecrets returns a copy of o with each secret replaced by Masked, and the secrets by key. Secrets inside nested objects stay masked with
// their whole top-level key left in place: only text values count as secrets. Both results are nil when o is empty.
func SplitSecrets(o Object) (clear, secrets Object) {
	if len(o) == 0 {
		return nil, nil
	}
	clear = make(Object, len(o))
	for k, v := range o {
		if !SecretKey(k) || v == nil || v == "" {
			clear[k] = v
			continue
		}
		if secrets == nil {
			secrets = Object{}
		}
		secrets[k] = v
		clear[k] = Masked
	}
	return clear, secrets
}

// JoinSecrets returns a copy of o in which each Masked value is replaced by the secret under the same key. A Masked value without a secret is
// left as it is.
func JoinSecrets(o, secrets Object) Object {
	if len(secrets) == 0 {
		return o
	}
	joined := make(Object, len(o))
	for k, v := range o {
		if s, ok := secrets[k]; ok && v == Masked {
			v = s
		}
		joined[k] = v
	}
	return joined
}
