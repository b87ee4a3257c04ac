{{/* What the API server refuses, of the names first, and names that two objects would have: a line each. */}}
{{- define "signalbox.impossibleObjects" -}}
{{- if not (regexMatch "^[a-z]" (include "signalbox.fullname" .)) }}
- fullnameOverride: a Service's name begins with a letter, and {{ include "signalbox.fullname" . }} does not
{{- end }}
{{- if .Values.redis.enabled }}
{{- if not (regexMatch "^[a-z]" (include "redis.fullname" .)) }}
- redis.enabled: the name of its Service is the release's, and begins with a letter; {{ .Release.Name }} does not
{{- end }}
{{- if or (eq (include "signalbox.name" .) "redis") (eq (include "signalbox.fullname" .) (include "redis.fullname" .)) }}
- nameOverride or fullnameOverride: {{ include "signalbox.fullname" . }} would be the gateway, and the Redis of redis.enabled, too
{{- end }}
{{- end }}
{{- range $name := list "commonLabels" "podLabels" }}
{{- range $label, $_ := get $.Values $name }}
{{- if has $label (list "helm.sh/chart" "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/part-of") }}
- {{ $name }}: {{ $label }} is the chart's own, by which its objects find each other
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.strategy.rollingUpdate }}
{{- if and (has (toString .maxSurge) (list "0" "0%")) (has (toString .maxUnavailable) (list "0" "0%")) }}
- strategy.rollingUpdate: with no maxSurge and no maxUnavailable nothing may be replaced
{{- end }}
{{- end }}
{{- if hasKey .Values "enabled" }}
{{- if not .Values.enabled }}
- enabled: is for the condition of a chart that this one is a part of; to be rid of it, do not install it
{{- end }}
{{- end }}
{{- end -}}

{{/* What the operator refuses, silently: a line each. */}}
{{- define "signalbox.impossibleMonitors" -}}
{{- range $name := list "serviceMonitor" "podMonitor" }}
{{- with get $.Values $name }}
{{- $timeout := include "signalbox.monitors.seconds" .scrapeTimeout }}
{{- $interval := include "signalbox.monitors.seconds" .interval }}
{{- if and .enabled $timeout $interval }}
{{- if gt (int $timeout) (int $interval) }}
- {{ $name }}.scrapeTimeout ({{ .scrapeTimeout }}) is more than interval ({{ .interval }}): Prometheus takes no such monitor
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Seconds of a duration that has one unit, s or m; nothing for any other. */}}
{{- define "signalbox.monitors.seconds" -}}
{{- if regexMatch "^[0-9]+[sm]$" . -}}
{{- $amount := regexFind "^[0-9]+" . | int -}}
{{- ternary (mul $amount 60) $amount (hasSuffix "m" .) -}}
{{- end -}}
{{- end -}}

{{/* Tests that would not be run, or not start: a line each. */}}
{{- define "signalbox.impossibleTests" -}}
{{- with .Values.tests }}
{{- if and .clientKey.existingSecret (not .clientKey.key) }}
- tests.clientKey.key: which entry of the Secret {{ .clientKey.existingSecret }} has the key
{{- end }}
{{- if and .model (not .clientKey.existingSecret) (include "signalbox.needsKeys" $) }}
- tests.model: clients need a key, and so does the test: name its Secret in tests.clientKey.existingSecret
{{- end }}
{{- end }}
{{- end -}}
