{{/* Where the extension's files come from, as a volume has it; nothing when the chart mounts none. */}}
{{- define "signalbox.extensionsVolume" -}}
{{- with .Values.extensions -}}
{{- if .files -}}
configMap: { name: {{ include "signalbox.nameFor" (dict "context" $ "end" "extensions") }} }
{{- else if .existingConfigMap -}}
configMap: { name: {{ .existingConfigMap }} }
{{- else if .image.reference -}}
image: { reference: {{ .image.reference | quote }}, pullPolicy: {{ .image.pullPolicy }} }
{{- end -}}
{{- end -}}
{{- end -}}
