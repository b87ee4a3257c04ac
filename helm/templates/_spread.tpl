{{/* The values' constraints, each for the pods of this release and, while a rollout goes on, of its own version. */}}
{{- define "signalbox.topologySpreadConstraints" -}}
{{- $constraints := list -}}
{{- $pods := dict "labelSelector" (dict "matchLabels" (include "signalbox.selectorLabels" . | fromYaml)) "matchLabelKeys" (list "pod-template-hash") -}}
{{- range .Values.topologySpreadConstraints -}}
{{- $constraints = append $constraints (ternary . (merge (dict) . $pods) (hasKey . "labelSelector")) -}}
{{- end -}}
{{- with $constraints -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
