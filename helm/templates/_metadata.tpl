{{/* Metadata of an object. Takes `context` (the chart's), `name`, and optionally `labels` and `annotations` of its own. */}}
{{- define "signalbox.metadata" -}}
name: {{ .name }}
namespace: {{ .context.Release.Namespace }}
labels:
  {{- /* A key is there once: its own label wins over those of all objects. */}}
  {{- merge (dict) (default (dict) .labels) (include "signalbox.labels" .context | fromYaml) | toYaml | nindent 2 }}
{{- with merge (dict) (default (dict) .annotations) .context.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A name that ends in what the object is for, and is not too long for one. Takes `context` and `end`. */}}
{{- define "signalbox.nameFor" -}}
{{- $end := printf "-%s" .end -}}
{{- printf "%s%s" (include "signalbox.fullname" .context | trunc (sub 63 (len $end) | int) | trimSuffix "-") $end -}}
{{- end -}}
