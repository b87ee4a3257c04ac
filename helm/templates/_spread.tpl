{{/* The values' constraints, each for the pods of this release and, while a rollout goes on, of its own version. */}}
{{- define "signalbox.topologySpreadConstraints" -}}
{{- $constraints := list -}}
{{- $pods := dict "labelSelector" (dict "matchLabels" (include "signalbox.selectorLabels" . | fromYaml)) "matchLabelKeys" (list "pod-template-hash") -}}
{{- range .Values.topologySpreadConstraints -}}
{{- if hasKey . "labelSelector" -}}
{{- $constraints = append $constraints . -}}
{{- else -}}
{{- $constraints = append $constraints (merge (dict) . $pods) -}}
{{- end -}}
{{- end -}}
{{- with $constraints -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
