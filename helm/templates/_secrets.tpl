{{/* Name of the Secret with the environment; nothing when there is none. */}}
{{- define "signalbox.envSecret" -}}
{{- if .Values.secrets.env.existingSecret -}}
{{- .Values.secrets.env.existingSecret -}}
{{- else if and .Values.externalSecrets.enabled .Values.externalSecrets.env -}}
{{- include "signalbox.nameFor" (dict "context" . "end" "env") -}}
{{- end -}}
{{- end -}}

{{/* Likewise, of the one with the keys of clients. */}}
{{- define "signalbox.clientKeysSecret" -}}
{{- if .Values.secrets.clientKeys.existingSecret -}}
{{- .Values.secrets.clientKeys.existingSecret -}}
{{- else if and .Values.externalSecrets.enabled .Values.externalSecrets.clientKeys -}}
{{- include "signalbox.nameFor" (dict "context" . "end" "client-keys") -}}
{{- end -}}
{{- end -}}
