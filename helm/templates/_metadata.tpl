{{/*
The metadata of an object: (dict "root" $ "suffix" "-metrics" "labels" … "annotations" …), all but `root` optional.
What an object is given of its own wins over what all objects are given.
*/}}
{{- define "signalbox.metadata" -}}
name: {{ printf "%s%s" (include "signalbox.fullname" .root) (default "" .suffix) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- toYaml (merge (dict) (default (dict) .labels) (include "signalbox.labels" .root | fromYaml)) | nindent 2 }}
{{- with merge (dict) (default (dict) .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
